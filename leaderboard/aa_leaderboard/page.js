"use strict";
(() => {
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

  const fill = (select, words) => {
    select.replaceChildren(...words.map((text, index) => new Option(text, String(index))));
  };
  const named = (row) => [row.method, ...row.marks.slice(1)].join(" · ");

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
      drawn("text", { x: (left + right) / 2, y: 450, "text-anchor": "middle" }, `${metric.heading}, ${x.method}`),
      drawn("text", { x: 16, y: 212, "text-anchor": "middle", transform: "rotate(-90 16 212)" },
        `${metric.heading}, ${y.method}`));
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

  // Clips in step: the longest one leads, the others follow it.
  const FRAME_S = 1 / 30;
  let clips = [];
  const leader = () => clips.reduce((a, b) => ((b.duration || 0) > (a.duration || 0) ? b : a), clips[0]);
  const seek = (time_s) => clips.forEach((clip) => {
    clip.currentTime = Math.min(Math.max(time_s, 0), clip.duration || 0);
  });
  const setPlaying = (playing) => {
    $("play").textContent = playing ? "Pause" : "Play";
    $("play").setAttribute("aria-pressed", String(playing));
    clips.forEach((clip) => {
      clip.playbackRate = Number($("speed").value);
      if (playing) clip.play().catch(() => {}); else clip.pause();
    });
    if (playing) requestAnimationFrame(follow); else showTime();
  };
  const isPlaying = () => $("play").getAttribute("aria-pressed") === "true";
  const showTime = () => {
    if (!clips.length) return;
    const lead = leader();
    $("time").textContent = `${lead.currentTime.toFixed(2)} of ${(lead.duration || 0).toFixed(2)} s`;
    $("scrub").value = lead.duration ? String(Math.round(1000 * lead.currentTime / lead.duration)) : "0";
  };
  const follow = () => {
    if (!isPlaying() || !clips.length) return;
    const lead = leader();
    if (lead.ended) { seek(0); clips.forEach((clip) => clip.play().catch(() => {})); }
    clips.forEach((clip) => {
      const target_s = Math.min(lead.currentTime, clip.duration || 0);
      if (clip !== lead && Math.abs(clip.currentTime - target_s) > 0.08) clip.currentTime = target_s;
    });
    showTime();
    requestAnimationFrame(follow);
  };
  const showPanes = () => {
    setPlaying(false);
    const video = $("clip-video").selectedOptions[0].textContent;
    const panes = data.clips[$("clip-table").value].videos[video];
    clips = [];
    $("panes").replaceChildren(...panes.map((pane) => {
      const figure = document.createElement("figure");
      const words = `${pane.title}, video ${video}`;
      const media = document.createElement(pane.moves ? "video" : "img");
      if (pane.moves) {
        Object.assign(media, { muted: true, playsInline: true, preload: "auto" });
        media.setAttribute("aria-label", words);
        media.addEventListener("loadeddata", showTime);
        media.addEventListener("seeked", () => { if (!isPlaying()) showTime(); });
        clips.push(media);
      } else {
        media.alt = words;
      }
      media.src = pane.src;
      const caption = document.createElement("figcaption");
      caption.append(pane.title, ...pane.marks.flatMap(([kind, text]) => {
        const badge = document.createElement("span");
        badge.className = `badge ${kind}`;
        badge.textContent = text;
        return [" ", badge];
      }));
      figure.append(media, caption);
      return figure;
    }));
  };
  const fillVideos = () => {
    fill($("clip-video"), Object.keys(data.clips[$("clip-table").value].videos));
    showPanes();
  };
  const showVideo = (tableName, video) => {
    const table = data.clips.findIndex((set) => set.name === tableName && video in set.videos);
    if (table < 0) return;
    $("clip-table").value = String(table);
    fillVideos();
    $("clip-video").value = String(Object.keys(data.clips[table].videos).indexOf(video));
    showPanes();
    $("player").scrollIntoView({ block: "center" });
  };
  if (data.clips.length) {
    fill($("clip-table"), data.clips.map((set) => set.name));
    $("clip-table").addEventListener("change", fillVideos);
    $("clip-video").addEventListener("change", showPanes);
    $("play").addEventListener("click", () => setPlaying(!isPlaying()));
    $("speed").addEventListener("change", () => setPlaying(isPlaying()));
    $("scrub").addEventListener("input", () => {
      const share = Number($("scrub").value) / 1000; // read first: pausing moves the slider
      setPlaying(false);
      seek((leader().duration || 0) * share);
    });
    $("step-back").addEventListener("click", () => { setPlaying(false); seek(leader().currentTime - FRAME_S); });
    $("step-on").addEventListener("click", () => { setPlaying(false); seek(leader().currentTime + FRAME_S); });
    fillVideos();
  }
})();
