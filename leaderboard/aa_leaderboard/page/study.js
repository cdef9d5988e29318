const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const columns = ["study", "rater", "trial", "left", "right", "choice", "seconds"];
let rater = "";
let order = [];
let votes = [];
let shown_at_ms = 0;
let urls = [];

// The rater's name decides order and sides: who comes back finds the same study, and half of the
// raters see all sides swapped.
const hash = (text) => [...text].reduce(
  (h, c) => Math.imul(h ^ c.codePointAt(0), 16777619) >>> 0, 2166136261);
const random = (seed) => () => {
  seed = (seed + 0x6d2b79f5) >>> 0;
  let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const mixed = (items, next) => {
  const list = [...items];
  for (let i = list.length - 1; i > 0; i -= 1) {
    const j = Math.floor(next() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
};

const storage = () => `study ${data.study} ${rater}`;
const remember = () => {
  try { localStorage.setItem(storage(), JSON.stringify(votes)); } catch { /* private window */ }
};
const recall = () => {
  try { return JSON.parse(localStorage.getItem(storage()) || "[]"); } catch { return []; }
};

const clipUrl = (name) => {
  const bytes = Uint8Array.from(atob(data.clips[name]), (c) => c.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  urls.push(url);
  return url;
};
const figure = (media, words) => {
  const element = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = words;
  element.append(media, caption);
  return element;
};
const video = (name, words) => {
  const media = document.createElement("video");
  Object.assign(media, { muted: true, playsInline: true, preload: "auto", src: clipUrl(name) });
  media.setAttribute("aria-label", words);
  return media;
};

// The two clips have equal lengths: the left one leads, the right one follows it.
const playInStep = ([lead, other], whenSeen) => {
  const go = () => [lead, other].forEach((clip) => clip.play().catch(() => {}));
  lead.addEventListener("ended", () => {
    whenSeen();
    [lead, other].forEach((clip) => { clip.currentTime = 0; });
    go();
  });
  lead.addEventListener("timeupdate", () => {
    if (!lead.ended && Math.abs(other.currentTime - lead.currentTime) > 0.08) {
      other.currentTime = lead.currentTime;
    }
  });
  let waiting = 2;
  [lead, other].forEach((clip) => clip.addEventListener("canplaythrough", () => {
    waiting -= 1;
    if (waiting === 0) go();
  }, { once: true }));
};

const buttons = [...document.querySelectorAll("[data-choice]")];
const show = () => {
  const trial = order[votes.length];
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  $("trial").hidden = !trial;
  $("end").hidden = Boolean(trial);
  $("saving").hidden = votes.length === 0;
  $("progress").max = order.length;
  $("progress").value = votes.length;
  $("sides").replaceChildren();
  if (!trial) return;
  $("count").textContent = `${votes.length + 1} of ${order.length}`;
  buttons.forEach((button) => { button.disabled = true; });
  const clips = [video(trial.left, "left video"), video(trial.right, "right video")];
  $("sides").append(figure(clips[0], "left"));
  $("sides").classList.toggle("with-photo", Boolean(trial.photo));
  if (trial.photo) {
    const photo = document.createElement("img");
    Object.assign(photo, { src: trial.photo, alt: "photo of the person" });
    $("sides").append(figure(photo, "the person to animate"));
  }
  $("sides").append(figure(clips[1], "right"));
  playInStep(clips, () => buttons.forEach((button) => { button.disabled = false; }));
  shown_at_ms = performance.now();
};
const vote = (choice) => {
  const trial = order[votes.length];
  const seconds = ((performance.now() - shown_at_ms) / 1000).toFixed(1);
  votes.push({ study: data.study, rater, trial: trial.name, left: trial.left, right: trial.right,
    choice, seconds });
  remember();
  show();
};
buttons.forEach((button) => button.addEventListener("click", () => vote(button.dataset.choice)));
document.addEventListener("keydown", (event) => {
  const choice = { ArrowLeft: "left", ArrowDown: "tie", ArrowRight: "right" }[event.key];
  const button = buttons.find((one) => one.dataset.choice === choice);
  if (!$("trial").hidden && button && !button.disabled) {
    event.preventDefault();
    button.click();
  }
});

const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
$("save").addEventListener("click", () => {
  const lines = [columns, ...votes.map((one) => columns.map((name) => one[name]))];
  const text = lines.map((line) => line.map(quoted).join(",")).join("\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" }));
  link.download = `votes-${data.study}-${rater.replace(/[^A-Za-z0-9]+/g, "-")}.csv`;
  link.click();
});

$("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  rater = $("rater").value.trim().replace(/\s+/g, " ");
  if (!rater) return;
  const seed = hash(`${data.study} ${rater}`);
  const next = random(seed);
  const swapped = next() < 0.5;
  order = mixed(data.trials, next).map((trial) => {
    const [left, right] = swapped ? [...trial.clips].reverse() : trial.clips;
    return { name: trial.name, left, right, photo: trial.photo };
  });
  votes = recall().filter((one, index) => order[index] && one.trial === order[index].name);
  $("start").hidden = true;
  show();
});
