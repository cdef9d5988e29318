const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const data = JSON.parse($("data").textContent);
root.classList.add("js");

// Theme: the system's, until the reader chooses.
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const stored = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
const setTheme = (theme) => {
  root.dataset.theme = theme;
  $("theme").textContent = theme === "dark" ? "Light" : "Dark";
};
setTheme(stored || (systemDark.matches ? "dark" : "light"));
$("theme").addEventListener("click", () => {
  setTheme(root.dataset.theme === "dark" ? "light" : "dark");
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* private window */ }
});

// Sorting: rows without a value stay last, whatever the direction.
const sortBy = (button) => {
  const th = button.closest("th");
  const table = th.closest("table");
  const column = [...th.parentNode.children].indexOf(th);
  const now = th.getAttribute("aria-sort");
  const flipped = { ascending: "descending", descending: "ascending" };
  const direction = now ? flipped[now] : button.dataset.first;
  const sign = direction === "ascending" ? 1 : -1;
  const valueOf = (row) => row.children[column].dataset.value;
  const compare = (a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (column === 0 ? x.localeCompare(y) : Number(x) - Number(y));
  };
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  th.setAttribute("aria-sort", direction);
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(compare));
};
document.querySelectorAll("table.sortable thead button").forEach((button) => {
  button.addEventListener("click", () => sortBy(button));
});

// Filter.
const filter = () => {
  const protocol = $("protocol").value;
  const part = $("method").value.trim().toLowerCase();
  const kinds = new Set([...document.querySelectorAll("[name=kind]:checked")].map((k) => k.value));
  let shown = 0;
  let all = 0;
  document.querySelectorAll("section.board").forEach((section) => {
    const right = !protocol || section.dataset.protocol === protocol;
    let any = false;
    section.querySelectorAll("tbody tr").forEach((row) => {
      const named = row.dataset.method.toLowerCase().includes(part);
      row.hidden = !(right && named && kinds.has(row.dataset.kind));
      any = any || !row.hidden;
      if (row.closest("table").hasAttribute("data-more")) return; // a further part of the same rows
      all += 1;
      shown += row.hidden ? 0 : 1;
    });
    section.hidden = !any;
  });
  $("count").textContent = shown === all ? `${all} lines` : `${shown} of ${all} lines`;
};
["input", "change"].forEach((kind) => $("filters").addEventListener(kind, filter));
$("filters").addEventListener("submit", (event) => event.preventDefault());
filter();

// A phone shows the method and one metric; a table without that metric shows its first.
const chooseMetric = () => {
  document.querySelectorAll("section.board").forEach((section) => {
    const tables = [...section.querySelectorAll("table")];
    const heads = tables.map((table) => [...table.querySelectorAll("th[data-key]")]);
    const family = (th) => th.dataset.key === $("metric").value;
    const related = (th) => th.dataset.key.split("_")[0] === $("metric").value.split("_")[0];
    const found = heads.flat().find(family) || heads.flat().find(related) || heads[0][0];
    tables.forEach((table, index) => {
      table.classList.toggle("lacks", !heads[index].includes(found));
      table.querySelectorAll("[data-key]").forEach((cell) => {
        cell.classList.toggle("chosen", cell.dataset.key === found.dataset.key);
      });
    });
  });
};
$("metric").addEventListener("change", chooseMetric);
chooseMetric();

const fill = (select, words) => {
  select.replaceChildren(...words.map((text, index) => new Option(text, String(index))));
};
const named = (row) => [row.method, ...row.marks.slice(1)].join(" · ");
const shortened = (text) => (text.length > 44 ? `${text.slice(0, 43)}…` : text);
