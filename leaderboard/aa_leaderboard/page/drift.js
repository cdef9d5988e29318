// Over the length of the videos.
const drawDrift = () => {
  const table = data.drift[$("drift-table").value];
  const metric = table.metrics[$("drift-metric").value];
  const rows = table.rows.filter((row) => row.drift[metric.key]);
  const values = rows.flatMap((row) => row.drift[metric.key].parts).filter((v) => v !== null);
  const svg = $("drift-plot");
  svg.replaceChildren();
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = (high - low || Math.abs(high) || 1) * 0.08;
  [low, high] = [low - pad, high + pad];
  const [left, right, top, bottom] = [76, 700, 16, 308];
  const atX = (share) => left + (right - left) * share;
  const atY = (v) => bottom - (bottom - top) * (v - low) / (high - low);
  const step = niceStep((high - low) / 5);
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) {
    svg.append(
      drawn("line", { class: "grid", x1: left, x2: right, y1: atY(i * step), y2: atY(i * step) }),
      drawn("text", { x: left - 8, y: atY(i * step) + 4, "text-anchor": "end" },
        Number((i * step).toPrecision(6)).toString()));
  }
  [0, 25, 50, 75, 100].forEach((percent) => svg.append(
    drawn("text", { x: atX(percent / 100), y: bottom + 20, "text-anchor": "middle" }, `${percent} %`)));
  svg.append(
    drawn("text", { x: (left + right) / 2, y: 348, "text-anchor": "middle" }, "of the video"),
    drawn("text", { x: 16, y: 162, "text-anchor": "middle", transform: "rotate(-90 16 162)" }, metric.heading));
  const lines = rows.map((row, index) => {
    const { parts, slope, low: from, high: to } = row.drift[metric.key];
    const colour = `var(--line-${index % 8})`;
    const baseline = row.kind === "baseline";
    const points = parts.map((v, i) => (v === null ? null : [atX((i + 0.5) / parts.length), atY(v)]));
    svg.append(drawn("polyline", { class: baseline ? "drift baseline" : "drift", style: `stroke: ${colour}`,
      points: points.filter(Boolean).map((point) => point.join(",")).join(" ") }));
    points.filter(Boolean).forEach(([x, y]) => svg.append(
      drawn("circle", { cx: x, cy: y, r: 3.5, style: `fill: ${colour}` })));
    const signed = (v) => `${v < 0 ? "−" : "+"}${Number(Math.abs(v).toPrecision(2))}`;
    const clear = from !== null && (from > 0 || to < 0);
    const way = (slope > 0) === (metric.better === "higher") ? "better" : "worse";
    const interval = from === null ? "no interval: fewer than 3 videos"
      : `95 % from ${signed(from)} to ${signed(to)}`;
    const verdict = clear && metric.better !== null ? `gets ${way}` : "no clear drift";
    const item = document.createElement("li");
    item.style.setProperty("--dot", colour);
    item.textContent = `${named(row)}: ${signed(slope)} each 100 frames (${interval}): ${verdict}`;
    return item;
  });
  $("drift-words").replaceChildren(...lines);
};
const fillDrift = () => {
  const table = data.drift[$("drift-table").value];
  fill($("drift-metric"), table.metrics.map((m) => `${m.heading} ${m.better === "lower" ? "↓" : "↑"}`));
  $("drift-metric").value = String(Math.max(table.metrics.findIndex((m) => m.key.startsWith("lpips")), 0));
  drawDrift();
};
if (data.drift.length) {
  fill($("drift-table"), data.drift.map((table) => table.name));
  $("drift-table").addEventListener("change", fillDrift);
  $("drift-metric").addEventListener("change", drawDrift);
  fillDrift();
}
