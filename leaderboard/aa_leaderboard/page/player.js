// Clips in step: the longest one leads, the others follow it. Frames count from 0; a clip shows
// frame i from i / fps on, so that the middle of that span is asked for.
let clips = [];
let lead = null;
const isPlaying = () => $("play").getAttribute("aria-pressed") === "true";
const lastFrame = () => (lead ? lead.pane.frames - 1 : 0);
const frameNow = () =>
  lead ? Math.min(Math.floor(lead.media.currentTime * lead.pane.fps + 1e-6), lastFrame()) : 0;
const seek = (time_s) => clips.forEach(({ media }) => {
  media.currentTime = Math.min(Math.max(time_s, 0), media.duration || time_s);
});
const seekFrame = (frame) => {
  if (!lead) return;
  seek((Math.min(Math.max(frame, 0), lastFrame()) + 0.5) / lead.pane.fps);
};
const showTime = () => {
  if (!lead) return;
  const frame = frameNow();
  const words = `frame ${frame} of ${lastFrame()}`;
  $("time").textContent = `${words}, ${(frame / lead.pane.fps).toFixed(2)} s`;
  $("scrub").value = String(frame);
  $("scrub").setAttribute("aria-valuetext", words);
};
const start = () => clips.forEach(({ media }) => {
  media.playbackRate = Number($("speed").value);
  media.play().catch(() => {}); // a browser may refuse: the clip then stays still
});
const setPlaying = (playing) => {
  $("play").textContent = playing ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(playing));
  if (playing) {
    start();
    requestAnimationFrame(follow);
  } else {
    clips.forEach(({ media }) => media.pause());
    showTime();
  }
};
const follow = () => {
  if (!isPlaying() || !lead) return;
  if (lead.media.ended) { seek(0); start(); }
  const now_s = lead.media.currentTime;
  clips.forEach(({ media }) => {
    const target_s = Math.min(now_s, media.duration || 0);
    if (media !== lead.media && Math.abs(media.currentTime - target_s) > 0.08) {
      media.currentTime = target_s;
    }
  });
  showTime();
  requestAnimationFrame(follow);
};
const makePicture = (pane, words) => {
  const media = document.createElement(pane.frames ? "video" : "img");
  if (pane.frames) {
    Object.assign(media, { muted: true, playsInline: true, preload: "auto" });
    media.setAttribute("aria-label", words);
  } else {
    media.alt = words;
  }
  media.src = pane.src;
  return media;
};
const showPanes = (frame = 0) => {
  setPlaying(false);
  const video = $("clip-video").selectedOptions[0].textContent;
  const panes = data.clips[$("clip-table").value].videos[video];
  clips = [];
  $("panes").replaceChildren(...panes.map((pane) => {
    const figure = document.createElement("figure");
    const media = makePicture(pane, `${pane.title}, video ${video}`);
    if (pane.frames) {
      media.addEventListener("loadeddata", showTime);
      media.addEventListener("seeked", () => { if (!isPlaying()) showTime(); });
      clips.push({ media, pane });
    }
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
  const length_s = (clip) => clip.pane.frames / clip.pane.fps;
  lead = clips.reduce((a, b) => (a && length_s(a) >= length_s(b) ? a : b), null);
  $("scrub").max = String(lastFrame());
  seekFrame(frame);
  showTime();
};
const fillVideos = () => {
  fill($("clip-video"), Object.keys(data.clips[$("clip-table").value].videos));
  showPanes();
};
const hasClips = (tableName, video) =>
  data.clips.some((set) => set.name === tableName && Object.hasOwn(set.videos, video));
const showVideo = (tableName, video, frame = 0) => {
  if (!hasClips(tableName, video)) return;
  const table = data.clips.findIndex((set) => set.name === tableName);
  $("clip-table").value = String(table);
  fillVideos();
  $("clip-video").value = String(Object.keys(data.clips[table].videos).indexOf(video));
  showPanes(frame);
  $("player").scrollIntoView({ block: "center" });
};
if (data.clips.length) {
  fill($("clip-table"), data.clips.map((set) => set.name));
  $("clip-table").addEventListener("change", fillVideos);
  $("clip-video").addEventListener("change", () => showPanes());
  $("play").addEventListener("click", () => setPlaying(!isPlaying()));
  $("speed").addEventListener("change", () => setPlaying(isPlaying()));
  $("scrub").addEventListener("input", () => {
    const frame = Number($("scrub").value); // read first: pausing moves the slider
    setPlaying(false);
    seekFrame(frame);
  });
  [["step-back", -1], ["step-on", 1]].forEach(([id, by]) => $(id).addEventListener("click", () => {
    const frame = frameNow() + by;
    setPlaying(false);
    seekFrame(frame);
  }));
  fillVideos();
}
