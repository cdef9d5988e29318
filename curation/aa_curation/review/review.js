"use strict";
// Everything is shown as text, never as markup: names come from lists of other people.
const $ = (id) => document.getElementById(id);
const PAGE_CLIPS = 120;
let data = null;      // what /clips answers
let byId = new Map();
let sources = new Map(); // source id -> number of its clips
let shown = [];       // the clips that pass the filters, in order
let moved = null;     // ids of the clips that the bound in the form would move
let chosen = null;
let pose = null;      // Int16Array of the chosen clip, or null
let numListed = PAGE_CLIPS;

const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const words = (number) => (number === null ? "no number" : String(Number(number.toPrecision(4))));
const place = () => ($("measure").value === "" ? -1 : Number($("measure").value));
const measured = (clip, at) => {
  const check = clip.checks.find((c) => c[0] === at);
  return check === undefined ? undefined : check[1];
};
const passes = (check) => {
  if (check[2] === null) return true; // an infinite bound drops nothing
  if (check[1] === null) return false;
  return data.measurements[check[0]].low ? check[1] >= check[2] : check[1] <= check[2];
};
const make = (name, text, attributes = {}) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};
const ask = async (path, options) => {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
};

// ---- pictures: those in sight, few at a time, so that a video never waits for them

const AT_A_TIME = 2; // a browser opens six connections
const pictures = new Map(); // clip id -> its img, which outlives a list
const wanted = [];
let loading = 0;
const load = () => {
  while (loading < AT_A_TIME && wanted.length) {
    const picture = wanted.pop(); // what came into sight last
    if (!picture.isConnected) continue; // out of the list; it is seen again if it comes back
    if (picture.getAttribute("src")) continue;
    loading += 1;
    picture.src = picture.dataset.src;
  }
};
const inSight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) wanted.push(target);
  load();
}, { rootMargin: "100px" });
const pictureOf = (clip) => {
  if (!pictures.has(clip.id)) {
    const picture = make("img", undefined, { alt: "", "data-src": `/picture/${encodeURIComponent(clip.id)}` });
    for (const end of ["load", "error"]) {
      picture.addEventListener(end, () => {
        loading -= 1;
        inSight.unobserve(picture);
        if (end === "error") picture.style.visibility = "hidden";
        load();
      });
    }
    pictures.set(clip.id, picture);
  }
  const picture = pictures.get(clip.id);
  if (!picture.getAttribute("src")) inSight.observe(picture);
  return picture;
};

// ---- which clips are shown

const COMPARISON = /^([a-z_]+)(<=|>=|<|>|=)(-?[\d.]+(?:e-?\d+)?)$/i;
const COMPARE = {
  "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
  "=": (a, b) => a === b,
};
const makeTest = (token) => {
  const parts = COMPARISON.exec(token);
  const at = parts ? data.measurements.findIndex((m) => m.name === parts[1]) : -1;
  if (at < 0) {
    const word = token.toLowerCase();
    return (clip) => clip.text.includes(word);
  }
  return (clip) => {
    const value = measured(clip, at);
    return value !== undefined && value !== null && COMPARE[parts[2]](value, Number(parts[3]));
  };
};
const limit = (id, otherwise) => ($(id).value === "" ? otherwise : Number($(id).value));
const find = () => {
  const tests = $("search").value.split(/\s+/).filter(Boolean).map(makeTest);
  const [status, reason] = JSON.parse($("decision").value);
  const at = place();
  const low = limit("from", -Infinity), high = limit("to", Infinity);
  shown = data.clips.filter((clip) => {
    if (status && (clip.status !== status || (reason !== null && clip.reason !== reason))) return false;
    if ($("marked").checked && !data.marks.takedown.includes(clip.source)) return false;
    if (at >= 0) {
      const value = measured(clip, at);
      if (value === undefined) return false;
      if (value === null ? low > -Infinity || high < Infinity : value < low || value > high) return false;
      if ($("changed").checked && !(moved && moved.has(clip.id))) return false;
    }
    return tests.every((test) => test(clip));
  });
  if (at >= 0) {
    const bound = data.measurements[at].bound;
    const order = $("order").value;
    const key = (clip) => {
      const value = measured(clip, at);
      if (value === null) return Infinity;
      if (order === "high") return -value;
      return order === "near" && bound !== null ? Math.abs(value - bound) : value;
    };
    shown.sort((a, b) => key(a) - key(b));
  }
  numListed = PAGE_CLIPS;
  list();
};
const list = () => {
  const at = place();
  $("found").textContent = `${counted(shown.length, "clip")} of ${data.clips.length}`;
  $("clips").replaceChildren(...shown.slice(0, numListed).map((clip) => {
    const item = make("li", undefined, { class: clip.status });
    item.classList.toggle("marked", data.marks.takedown.includes(clip.source));
    const button = make("button", undefined, { type: "button" });
    const value = at < 0 ? "" : words(measured(clip, at));
    button.append(pictureOf(clip), make("small", clip.id),
      make("small", [clip.reason || clip.status, value].filter(Boolean).join(" · ")));
    button.addEventListener("click", () => choose(clip, true));
    if (chosen === clip) button.setAttribute("aria-current", "true");
    item.append(button);
    return item;
  }));
  $("more").hidden = shown.length <= numListed;
};

// ---- one clip

const choose = async (clip, byHand) => {
  chosen = clip;
  pose = null;
  for (const [row, item] of [...$("clips").children].entries()) {
    const current = shown[row] === clip;
    item.firstChild.toggleAttribute("aria-current", current);
    if (current) item.firstChild.setAttribute("aria-current", "true");
  }
  $("clip").hidden = false;
  $("name").textContent = clip.id;
  const facts = [clip.reason ? `${clip.status}, ${clip.reason}` : clip.status, clip.owner,
    clip.licence, clip.split, clip.frames && `${clip.frames} frames at ${words(clip.fps)} fps`,
    clip.size_hw && `${clip.size_hw[1]}x${clip.size_hw[0]}`];
  $("why").textContent = facts.filter(Boolean).join(" · ");
  $("detail").textContent = clip.detail;
  $("numbers").replaceChildren(...clip.checks.map((check) => {
    const { name, meaning, low } = data.measurements[check[0]];
    const row = make("tr", undefined, passes(check) ? {} : { class: "failed" });
    const button = make("button", name, { type: "button", title: meaning });
    button.addEventListener("click", () => {
      $("measure").value = String(check[0]);
      measureChanged();
    });
    const cell = make("td");
    cell.append(button);
    const bound = check[2] === null ? "always" : `${low ? "at least" : "at most"} ${words(check[2])}`;
    row.append(cell, make("td", words(check[1]), { class: "n" }), make("td", bound));
    return row;
  }));
  showMarks();
  $("trouble").textContent = clip.has_pose ? "" : "No skeleton is stored of a clip that was rejected; what is shown is made of its source.";
  const video = $("video");
  clear();
  video.src = `/video/${encodeURIComponent(clip.id)}`;
  video.playbackRate = Number($("speed").value);
  video.play().catch(() => {}); // a browser may refuse: the clip then stays still
  if (byHand && matchMedia("(max-width: 60rem)").matches) $("clip").scrollIntoView();
  if (!clip.has_pose) return;
  const answer = await ask(`/pose/${encodeURIComponent(clip.id)}`);
  const joints = new Int16Array(await answer.arrayBuffer());
  if (chosen !== clip) return;
  pose = joints;
  draw();
};
const step = (by) => {
  const at = shown.indexOf(chosen) + by;
  if (at < 0 || at >= shown.length) return;
  if (at >= numListed) { numListed += PAGE_CLIPS; list(); }
  choose(shown[at], false);
  $("clips").children[at].scrollIntoView({ block: "nearest" });
};

// ---- the skeleton over the video

const clear = () => $("skeleton").getContext("2d").clearRect(0, 0, $("skeleton").width, $("skeleton").height);
const frameNow = (time_s) => Math.min(Math.floor(time_s * chosen.fps + 0.01), chosen.frames - 1);
const draw = (time_s = $("video").currentTime) => {
  const video = $("video"), canvas = $("skeleton");
  clear();
  if (!chosen || !chosen.frames || !video.videoWidth) { $("frame").textContent = ""; return; }
  const frame = frameNow(time_s);
  $("frame").textContent = chosen.has_pose ? `frame ${frame} of ${chosen.frames - 1}` : "";
  if (!pose || !$("drawn").checked) return;
  // The picture's place inside of the video element, which may be wider than it.
  const [height, width] = chosen.size_hw;
  const scale = Math.min(video.clientWidth / width, video.clientHeight / height);
  const style = canvas.style;
  style.width = `${width * scale}px`;
  style.height = `${height * scale}px`;
  style.left = `${(video.clientWidth - width * scale) / 2}px`;
  style.top = `${(video.clientHeight - height * scale) / 2}px`;
  const dense = scale * (window.devicePixelRatio || 1);
  canvas.width = Math.round(width * dense);
  canvas.height = Math.round(height * dense);
  const context = canvas.getContext("2d");
  const { limbs, colours, hand_limbs, parts, per_px, unseen } = data.skeleton;
  const joints = parts[3][1];
  const at = (joint) => {
    const x = pose[2 * (frame * joints + joint)], y = pose[2 * (frame * joints + joint) + 1];
    return x === unseen ? null : [(x / per_px) * dense, (y / per_px) * dense];
  };
  const unit = Math.max((Math.min(width, height) / 512) * dense, 0.5);
  const line = (a, b, colour, thick) => {
    if (!a || !b) return;
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.beginPath();
    context.moveTo(...a);
    context.lineTo(...b);
    context.stroke();
  };
  const disc = (point, radius, colour) => {
    if (!point) return;
    context.fillStyle = colour;
    context.beginPath();
    context.arc(...point, radius, 0, 2 * Math.PI);
    context.fill();
  };
  context.lineCap = "round";
  context.globalAlpha = 0.7;
  limbs.forEach(([a, b], i) => line(at(a), at(b), `rgb(${colours[i]})`, 6 * unit));
  context.globalAlpha = 1;
  for (let joint = parts[0][0]; joint < parts[0][1]; joint += 1) disc(at(joint), 4 * unit, `rgb(${colours[joint]})`);
  for (const [first] of parts.slice(1, 3)) {
    hand_limbs.forEach(([a, b], i) => line(at(first + a), at(first + b), `hsl(${(360 * i) / hand_limbs.length} 100% 50%)`, 2 * unit));
  }
  for (let joint = parts[3][0]; joint < parts[3][1]; joint += 1) disc(at(joint), 1.2 * unit, "#fff");
};
const follow = (_now, frame) => {
  draw(frame ? frame.mediaTime : undefined);
  next();
};
const next = () => {
  const video = $("video");
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(follow);
  else requestAnimationFrame(() => follow());
};

// ---- another bound, and what is marked

const measureChanged = () => {
  const at = place();
  $("range").hidden = $("bounding").hidden = at < 0;
  $("from").value = $("to").value = "";
  $("changed").checked = false;
  moved = null;
  if (at >= 0) {
    const { name, meaning, low, bound } = data.measurements[at];
    const kept = data.marks.bounds[name];
    $("meaning").textContent = meaning ? `${name}: ${meaning}` : name;
    $("side").textContent = low ? "passes: at least" : "passes: at most";
    $("bound").value = kept !== undefined ? kept : bound !== null ? bound : "";
    if (bound === null && $("order").value === "near") $("order").value = low ? "low" : "high";
    whatChanges();
  }
  find();
};
let asked = 0;
const whatChanges = async () => {
  const value = $("bound").value;
  const number = (asked += 1);
  if (place() < 0 || value === "") { $("changes").textContent = "No bound: it drops nothing."; return; }
  const { name } = data.measurements[place()];
  const found = await (await ask(`/changes?${new URLSearchParams({ [name]: value })}`)).json();
  if (number !== asked) return; // a later bound has been typed
  moved = new Set(Object.values(found).flat());
  const accepted = data.clips.filter((clip) => clip.status === "accepted").length;
  const owners = new Map();
  for (const id of found.rejected) owners.set(byId.get(id).owner, (owners.get(byId.get(id).owner) || 0) + 1);
  const [most] = [...owners].sort((a, b) => b[1] - a[1]);
  let text = `Rejects ${found.rejected.length} of ${counted(accepted, "accepted clip")}`;
  if (most && most[0]) text += `, ${most[1]} of them of ${most[0]}`;
  text += `; lets ${found.accepted.length} in`;
  if (found.undecided.length) text += `; ${found.undecided.length} more may come in, which the next run decides`;
  $("changes").textContent = `${text}.`;
  if ($("changed").checked) find();
};
const write = async () => {
  try {
    const body = JSON.stringify(data.marks);
    await ask("/marks", { method: "POST", body });
    $("trouble").textContent = "";
  } catch (error) {
    $("trouble").textContent = `Not written: ${error.message}`;
  }
  showMarks();
};
const showMarks = () => {
  const { takedown, bounds } = data.marks;
  const isMarked = chosen !== null && takedown.includes(chosen.source);
  $("mark").setAttribute("aria-pressed", String(isMarked));
  const others = chosen ? sources.get(chosen.source) : 1;
  const all = others > 1 ? ` (all ${others} clips)` : "";
  $("mark").textContent = isMarked ? `Marked: its source goes${all}` : `Take its source down${all}`;
  const lines = [];
  const lists = [[takedown.length, `${counted(takedown.length, "source")} in takedown.txt: `, "takedown"],
    [Object.keys(bounds).length, `${Object.entries(bounds).map(([n, v]) => `${n}=${v}`).join(", ")} in redecide.txt: `, "redecide"]];
  for (const [some, text, command] of lists) {
    if (!some) continue;
    const folder = data.folder;
    lines.push(document.createTextNode(text),
      make("code", `aa-curate ${command} --list ${folder}/${command}.txt --out ${folder}`), make("br"));
  }
  $("marks").replaceChildren(...(lines.length ? lines : [document.createTextNode("Nothing is marked.")]));
  for (const [row, item] of [...$("clips").children].entries()) {
    item.classList.toggle("marked", takedown.includes(shown[row].source));
  }
};
const toggleMark = () => {
  if (!chosen) return;
  const { takedown } = data.marks;
  const at = takedown.indexOf(chosen.source);
  if (at < 0) takedown.push(chosen.source);
  else takedown.splice(at, 1);
  write();
};
const keepBound = () => {
  const { name, bound } = data.measurements[place()];
  const value = $("bound").value;
  if (value === "" || Number(value) === bound) delete data.marks.bounds[name];
  else data.marks.bounds[name] = Number(value);
  write();
};

// ---- start

const start = async () => {
  data = await (await ask("/clips")).json();
  document.title = `Review of ${data.recipe}`;
  document.querySelector("h1").textContent = document.title;
  const decisions = new Map([["any", [null, null]]]);
  const counts = new Map();
  for (const clip of data.clips) {
    byId.set(clip.id, clip);
    sources.set(clip.source, (sources.get(clip.source) || 0) + 1);
    clip.text = [clip.id, clip.source, clip.owner, clip.reason, clip.status, clip.licence, clip.split, clip.stage]
      .join(" ").toLowerCase();
    for (const key of new Set([clip.status, `${clip.status}: ${clip.reason}`])) {
      if (key.endsWith(": ")) continue;
      counts.set(key, (counts.get(key) || 0) + 1);
      decisions.set(key, [clip.status, key === clip.status ? null : clip.reason]);
    }
  }
  const keys = [...decisions.keys()].slice(1).sort();
  $("decision").append(new Option(`any (${data.clips.length})`, "[null,null]"),
    ...keys.map((key) => new Option(`${key} (${counts.get(key)})`, JSON.stringify(decisions.get(key)))));
  $("measure").append(new Option("none", ""), ...data.measurements.map((m, i) => new Option(m.name, String(i))));
  $("summary").textContent = keys.filter((key) => !key.includes(":"))
    .map((key) => `${counts.get(key)} ${key}`).join(", ") || "no clip is decided";
  for (const id of ["search", "from", "to"]) $(id).addEventListener("input", find);
  for (const id of ["decision", "order", "marked", "changed"]) $(id).addEventListener("change", find);
  $("measure").addEventListener("change", measureChanged);
  $("bound").addEventListener("input", whatChanges);
  $("keep").addEventListener("click", keepBound);
  $("mark").addEventListener("click", toggleMark);
  $("before").addEventListener("click", () => step(-1));
  $("after").addEventListener("click", () => step(1));
  $("more").addEventListener("click", () => { numListed += PAGE_CLIPS; list(); });
  $("speed").addEventListener("change", () => { $("video").playbackRate = Number($("speed").value); });
  $("drawn").addEventListener("change", () => draw());
  $("video").addEventListener("seeked", () => draw());
  $("video").addEventListener("loadeddata", () => draw());
  $("video").addEventListener("error", async () => {
    if (!chosen) return;
    const clip = chosen;
    const answer = await fetch(`/video/${encodeURIComponent(clip.id)}`);
    if (chosen === clip && !answer.ok) $("trouble").textContent = answer.status === 404 ? "No video: it was taken down, or its source is not where it was." : `No video: ${await answer.text()}`;
  });
  addEventListener("resize", () => draw());
  for (const form of ["filters", "bounding"]) $(form).addEventListener("submit", (event) => event.preventDefault());
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input[type=search], input[type=number], select")) return;
    const video = $("video");
    const by = chosen && chosen.fps ? 1 / chosen.fps : 0.04;
    const keys = {
      j: () => step(1),
      k: () => step(-1),
      m: toggleMark,
      s: () => { $("drawn").checked = !$("drawn").checked; draw(); },
      ",": () => { video.pause(); video.currentTime = Math.max(0, (frameAt(video) - 0.5) * by); },
      ".": () => { video.pause(); video.currentTime = (frameAt(video) + 1.5) * by; },
      " ": () => {
        if (event.target.matches("button, video, input")) return false;
        if (video.paused) video.play(); else video.pause();
        return true;
      },
    };
    if (keys[event.key] && keys[event.key]() !== false) event.preventDefault();
  });
  const frameAt = (video) => Math.floor(video.currentTime * ((chosen && chosen.fps) || 25) + 0.01);
  measureChanged();
  showMarks();
  next();
  $("all").open = !matchMedia("(max-width: 60rem)").matches;
  if (shown.length) choose(shown[0], false);
};
start().catch((error) => { $("summary").textContent = `The ledger cannot be read: ${error.message}`; });
