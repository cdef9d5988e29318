// Video by video.
const drawn = (tag, attributes, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  if (text !== undefined) element.textContent = text;
  return element;
};
const digits = (value, metric) =>
  metric.decimals === null ? value.toExponential(2) : value.toFixed(metric.decimals);

const niceStep = (rough) => {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
};

const drawScatter = () => {
  const table = data.tables[$("scatter-table").value];
  const metric = table.metrics[$("scatter-metric").value];
  const [x, y] = [table.rows[$("scatter-x").value], table.rows[$("scatter-y").value]];
  const score = (row, video) => (row.videos[video] || {})[metric.key];
  const videos = Object.keys(x.videos).filter((v) =>
    Number.isFinite(score(x, v)) && Number.isFinite(score(y, v)));
  const svg = $("scatter");
  svg.replaceChildren();
  if (!videos.length) {
    $("scatter-words").textContent = `No video has a ${metric.heading} for both.`;
    return;
  }
  const values = videos.flatMap((v) => [score(x, v), score(y, v)]);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low - pad, high + pad];
  const [left, right, top, bottom] = [76, 700, 16, 408];
  const step = niceStep((high - low) / 5);
  const atX = (v) => left + (right - left) * (v - low) / (high - low);
  const atY = (v) => bottom - (bottom - top) * (v - low) / (high - low);
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) {
    const v = i * step;
    const words = Number(v.toPrecision(6)).toString();
    svg.append(
      drawn("line", { class: "grid", x1: atX(v), x2: atX(v), y1: top, y2: bottom }),
      drawn("line", { class: "grid", x1: left, x2: right, y1: atY(v), y2: atY(v) }),
      drawn("text", { x: atX(v), y: bottom + 18, "text-anchor": "middle" }, words),
      drawn("text", { x: left - 8, y: atY(v) + 4, "text-anchor": "end" }, words));
  }
  svg.append(
    drawn("line", { class: "diagonal", x1: left, y1: bottom, x2: right, y2: top }),
    drawn("text", { x: (left + right) / 2, y: 450, "text-anchor": "middle" }, `${metric.heading}, ${shortened(x.method)}`),
    drawn("text", { x: 16, y: 212, "text-anchor": "middle", transform: "rotate(-90 16 212)" },
      `${metric.heading}, ${shortened(y.method)}`));
  const sign = metric.better === "lower" ? -1 : 1;
  let wins = 0;
  const worstFirst = [...videos].sort((a, b) => sign * (score(y, a) - score(y, b)));
  $("scatter-worst").replaceChildren(`Worst videos of ${y.method}:`,
    ...worstFirst.slice(0, 3).map((video) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${video} (${digits(score(y, video), metric)})`;
      button.addEventListener("click", () => showVideo(table.name, video));
      return button;
    }));
  videos.forEach((video) => {
    const [a, b] = [score(x, video), score(y, video)];
    const verdict = a === b ? "equal" : (sign * (b - a) > 0 ? "better" : "worse");
    wins += verdict === "better" ? 1 : 0;
    const words = `${video}: ${x.method} ${digits(a, metric)}, ${y.method} ${digits(b, metric)}`;
    const point = drawn("circle", { class: `point ${verdict}`, cx: atX(a), cy: atY(b), r: 6,
      tabindex: 0, role: "button", "aria-label": words });
    point.append(drawn("title", {}, words));
    point.addEventListener("click", () => showVideo(table.name, video));
    point.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault(); // a space would scroll
      showVideo(table.name, video);
    });
    svg.append(point);
  });
  const way = metric.better === null ? "higher" : "better";
  $("scatter-words").textContent =
    `${y.method} is ${way} than ${x.method} in ${metric.heading} on ${wins} of ${videos.length} videos.` +
    (metric.better === "lower" ? " Lower is better: its dots lie below the diagonal."
      : " Its dots lie above the diagonal.");
};
const fillScatter = () => {
  const table = data.tables[$("scatter-table").value];
  const preferred = table.metrics.findIndex((m) => m.key.startsWith("lpips"));
  fill($("scatter-metric"), table.metrics.map((m) => m.heading));
  $("scatter-metric").value = String(Math.max(preferred, 0));
  fill($("scatter-x"), table.rows.map(named));
  fill($("scatter-y"), table.rows.map(named));
  $("scatter-x").value = "1";
  drawScatter();
};
if (data.tables.length) {
  fill($("scatter-table"), data.tables.map((table) => table.name));
  $("scatter-table").addEventListener("change", fillScatter);
  ["metric", "x", "y"].forEach((name) => $(`scatter-${name}`).addEventListener("change", drawScatter));
  fillScatter();
}
