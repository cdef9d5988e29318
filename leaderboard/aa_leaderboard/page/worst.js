// Worst frames: their pictures from the clips, where there are any; else their names.
const paneOf = (tableName, video, isRight) => {
  const set = data.clips.find((one) => one.name === tableName);
  const panes = set && Object.hasOwn(set.videos, video) ? set.videos[video] : [];
  return panes.find(isRight);
};
const stillOf = (pane, frame, words) => {
  const figure = document.createElement("figure");
  const media = makePicture(pane, words);
  media.addEventListener("loadedmetadata", () => {
    media.currentTime = (frame.position + 0.5) / pane.fps;
  });
  const caption = document.createElement("figcaption");
  caption.textContent = pane.title;
  figure.append(media, caption);
  return figure;
};
const worstItem = (table, row, metric, frame) => {
  const item = document.createElement("li");
  const words = `${frame.video}, frame ${frame.number}`;
  const value = `${metric.heading} ${digits(frame.value, metric)}`;
  // A clip of another length than what was scored would show another frame.
  const fits = (pane) => pane.frames === frame.of;
  const panes = [
    paneOf(table.name, frame.video, (p) => p.role === "ground_truth" && fits(p)),
    paneOf(table.name, frame.video, (p) => p.row === row.id && fits(p)),
  ];
  if (panes[1]) {
    const pair = document.createElement("div");
    pair.className = "pair";
    pair.append(...panes.filter(Boolean).map((pane) =>
      stillOf(pane, frame, `${pane.title}, ${words}, ${value}`)));
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words;
    button.title = "Show in the player";
    button.addEventListener("click", () => showVideo(table.name, frame.video, frame.position));
    item.append(pair, button);
  } else {
    const name = document.createElement("span");
    name.textContent = words;
    item.append(name);
  }
  const number = document.createElement("span");
  number.className = "value";
  number.textContent = value;
  item.append(" ", number);
  return item;
};
const showWorst = () => {
  const table = data.frames[$("worst-table").value];
  const row = table.rows[$("worst-row").value];
  const metric = table.metrics[$("worst-metric").value];
  const frames = row.worst[metric.key] || [];
  $("worst").replaceChildren(...frames.map((frame) => worstItem(table, row, metric, frame)));
  $("worst-words").textContent = frames.length
    ? `${row.method}: the ${frames.length} worst frames in ${metric.heading}, worst first.`
    : `${row.method} has no ${metric.heading} per frame.`;
};
const fillWorst = () => {
  const table = data.frames[$("worst-table").value];
  const preferred = table.metrics.findIndex((m) => m.key.startsWith("lpips"));
  fill($("worst-row"), table.rows.map(named));
  fill($("worst-metric"), table.metrics.map((m) => m.heading));
  $("worst-metric").value = String(Math.max(preferred, 0));
  showWorst();
};
if (data.frames.length) {
  fill($("worst-table"), data.frames.map((table) => table.name));
  $("worst-table").addEventListener("change", fillWorst);
  ["row", "metric"].forEach((name) => $(`worst-${name}`).addEventListener("change", showWorst));
  fillWorst();
}
