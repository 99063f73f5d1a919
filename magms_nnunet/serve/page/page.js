"use strict";

const byId = id => document.getElementById(id);
const SIDES = {axial: "RLAP", coronal: "RLSI", sagittal: "APSI"};  // of the patient: left, right, upper, lower edge
let models = [];
let files = [];            // {file, modality}
let study = null;          // {file, series: what the server says of each, and its modality}
let job = null;            // what the server says of it
let token = "";            // kept in this page's memory alone

async function ask(path, options = {}) {
  const headers = {...options.headers, ...(token && {Authorization: `Bearer ${token}`})};
  const answer = await fetch(path, {...options, headers});
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    byId("token-form").hidden = false;
    byId("token").focus();
  }
  throw new Error(problem.detail || `the server answers ${answer.status}`);
}

function say(text) { byId("status").textContent = text; }

function report(error) {
  byId("error").textContent = error ? error.message : "";
  if (error) say("");
}

function element(name, content = {}, ...children) {
  const made = Object.assign(document.createElement(name), content);
  made.append(...children);
  return made;
}

function chosenModel() { return models.find(model => model.id === byId("model").value); }

async function loadModels() {
  models = await (await ask("/models")).json();
  byId("token-form").hidden = true;
  byId("model").replaceChildren(...models.map(model => element("option", {value: model.id, textContent: model.id})));
  showKinds();
}

function showKinds() {
  byId("kinds").textContent = `Images in ${chosenModel().file_ending}, or a zip of the folder of a DICOM study`;
}

async function add(list) {
  report(null);
  await forget();  // a result of other scans must not stand below these
  say("");
  const added = [...list];
  const zip = added.find(file => /\.zip$/i.test(file.name));
  if (zip) { await addStudy(zip); return; }
  if (study) { study = null; showStudy(); }
  const names = JSON.stringify(added.map(file => file.name));
  const query = new URLSearchParams({model: byId("model").value});
  const headers = {"Content-Type": "application/json"};
  const found = await (await ask(`/assignment?${query}`, {method: "POST", body: names, headers})).json();
  added.forEach((file, i) => files.push({file, modality: found[i] || ""}));
  showFiles();
}

async function assignAgain() {  // another model has other modalities
  showKinds();
  if (study) { await addStudy(study.file); return; }
  const again = files.splice(0).map(entry => entry.file);
  await add(again);
}

function showFiles() {
  byId("chosen").hidden = files.length === 0;
  byId("chosen").tBodies[0].replaceChildren(...files.map(entry => {
    const select = modalityOf(entry, entry.file.name);
    const remove = element("button", {type: "button", textContent: "Remove", ariaLabel: `Remove ${entry.file.name}`});
    remove.onclick = () => { files = files.filter(other => other !== entry); showFiles(); byId("files").focus(); };
    const kib = entry.file.size / 1024;
    const size = kib < 1024 ? `${Math.ceil(kib)} KiB` : `${(kib / 1024).toFixed(1)} MiB`;
    return element("tr", {}, ...[entry.file.name, size, select, remove].map(content => element("td", {}, content)));
  }));
  showExpected();
}

async function addStudy(file) {
  files = [];
  study = null;
  showFiles();
  showStudy();
  say("Reading the study");
  const query = new URLSearchParams({model: byId("model").value});
  const headers = {"Content-Type": "application/zip"};
  const series = await (await ask(`/series?${query}`, {method: "POST", body: file, headers})).json();
  const couldBe = name => series.filter(one => one.modalities.includes(name));
  for (const one of series) {
    const [name] = one.modalities;
    one.modality = one.modalities.length === 1 && couldBe(name).length === 1 ? name : "";
  }
  study = {file, series};
  say("");
  showStudy();
}

function unclear() {  // what the study does not say, and nobody has chosen
  const open = (study ? chosenModel().modalities : []).filter(name => !subset().includes(name));
  return open.map(name => [name, study.series.filter(one => !one.modality && one.modalities.includes(name))])
    .filter(([, could]) => could.length)
    .map(([name, could]) => `${name} could be series ${could.map(one => one.number).join(" or ")}: choose. `).join("");
}

function showStudy() {
  const series = study ? study.series : [];
  byId("series").hidden = byId("study").hidden = !study;
  byId("series").tBodies[0].replaceChildren(...series.map(one => {
    const name = `${one.number} ${one.description}`;
    const choice = one.problem ? "(not used)" : modalityOf(one, `series ${name}`);
    const why = one.problem ? `This series ${one.problem}` : one.reason;
    const told = element("td", {}, name, element("small", {textContent: why}));
    return element("tr", {}, told, ...[String(one.images), choice].map(content => element("td", {}, content)));
  }));
  const names = ["", ...chosenModel().modalities];
  byId("grid").replaceChildren(...names.map(name => element("option", {value: name, textContent: name || "(they share one)"})));
  showExpected();
}

function modalityOf(entry, label) {  // a select of it
  const names = ["", ...chosenModel().modalities];
  const options = names.map(name => element("option", {value: name, textContent: name || "(not used)"}));
  const select = element("select", {ariaLabel: `Modality of ${label}`}, ...options);
  select.value = entry.modality;
  select.onchange = () => { entry.modality = select.value; showExpected(); };
  return select;
}

function given() {  // modalities, as often as they were chosen
  return (study ? study.series : files).map(entry => entry.modality).filter(Boolean);
}

function subset() {
  const chosen = given();
  return chosenModel().modalities.filter(name => chosen.includes(name));
}

function showExpected() {
  const model = chosenModel(), names = subset();
  const twice = given().length > names.length;
  byId("predict").disabled = !names.length || twice;
  if (twice) { byId("expected").textContent = `Two ${study ? "series" : "files"} have the same modality: give each modality once.`; return; }
  const dice = of => model.expected_dice[model.modalities.filter(name => of.includes(name)).join("+")]?.mean;
  const now = dice(names);
  if (!names.length) { byId("expected").textContent = unclear(); return; }
  if (now === undefined) {
    byId("expected").textContent = `${unclear()}${names.join(" + ")}: nobody has evaluated this model on this subset.`;
    return;
  }
  const gains = model.modalities.filter(name => !names.includes(name))
    .map(name => [name, dice([...names, name]) - now]).filter(([, gain]) => gain > 0).sort((a, b) => b[1] - a[1]);
  const next = gains.length ? ` Acquire next: ${gains[0][0]}, +${gains[0][1].toFixed(3)}.` : "";
  byId("expected").textContent = `${unclear()}Dice to expect from ${names.join(" + ")}: ${now.toFixed(3)}.${next}`;
}

async function predict() {
  report(null);
  await forget();
  const query = new URLSearchParams({model: byId("model").value, slices: true});
  const request = study ? studyRequest(query) : filesRequest();
  say("Uploading");
  byId("predict").disabled = true;
  try {
    job = await (await ask(`/jobs?${query}`, {method: "POST", ...request})).json();
    byId("cancel").hidden = byId("progress").hidden = false;
    await watch(job.id);
  } catch (error) {
    report(error);
  } finally {
    byId("cancel").hidden = byId("progress").hidden = true;
    showExpected();
  }
}

function filesRequest() {
  const body = new FormData();
  for (const entry of files) if (entry.modality) body.append(entry.modality, entry.file, entry.file.name);
  return {body};
}

function studyRequest(query) {
  for (const one of study.series) if (one.modality) query.append("series", `${one.modality}=${one.uid}`);
  for (const name of subset()) query.append("modalities", name);
  if (byId("grid").value) query.append("grid", byId("grid").value);
  if (byId("register").checked) query.append("register", "rigid");
  query.append("output-type", byId("output-type").value);
  return {body: study.file, headers: {"Content-Type": "application/zip"}};
}

async function watch(id) {
  while (job && job.id === id && (job.state === "waiting" || job.state === "running")) {
    byId("progress").value = job.progress;
    const before = job.position ? `, ${job.position} before it` : "";
    say(job.state === "waiting" ? `Waiting${before}` : "Predicting");
    await new Promise(resolve => setTimeout(resolve, 300));
    if (job && job.id === id) job = await (await ask(`/jobs/${id}`)).json();
  }
  if (!job || job.id !== id) return;
  if (job.state === "failed") throw new Error(job.problem.detail);
  await showResult();
}

async function cancel() {
  const {id} = job;
  job = null;
  await ask(`/jobs/${id}`, {method: "DELETE"});
  say("Cancelled");
}

async function forget() {
  if (!job) return;
  const {id} = job;
  job = null;
  byId("result").hidden = true;
  await ask(`/jobs/${id}`, {method: "DELETE"}).catch(() => {});  // it may have expired
}

async function showResult() {
  const saved = await (await ask(`/jobs/${job.id}/report`)).json();
  byId("summary").textContent = `From ${saved.modalities_used.join(" + ")}, in ${job.seconds.toFixed(1)} s` +
    (saved.modalities_absent.length ? `; without ${saved.modalities_absent.join(", ")}` : "") +
    (saved.expected_dice ? `; Dice to expect ${saved.expected_dice.mean.toFixed(3)}${saved.weak ? ", which is weak" : ""}` : "") +
    (saved.next_scan ? `; acquire next: ${saved.next_scan.modality}, +${saved.next_scan.gain.toFixed(3)}` : "");
  byId("bounds").replaceChildren(...boundsOf(saved.dice_at_least).map(text => element("li", {textContent: text})));
  byId("warnings").replaceChildren(...saved.warnings.map(text => element("li", {textContent: text})));
  byId("view").hidden = byId("legend").hidden = byId("planes").hidden = !job.slices;
  if (job.slices) {
    byId("shown").replaceChildren(...job.modalities.map(name => element("option", {value: name, textContent: name})));
    byId("legend").replaceChildren(...chosenModel().legend.map(legendEntry));
    byId("planes").replaceChildren(...Object.keys(SIDES).map(planeView));
  }
  byId("result").hidden = false;
  say("Done");
}

function boundsOf(bounds) {  // of this patient's Dice, by region
  return Object.entries(bounds || {}).map(([region, {dice, coverage}]) =>
    `${region}: Dice at least ${dice.toFixed(2)}, which holds for ${Math.round(100 * coverage)} % of patients`);
}

function legendEntry({label, colour}) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [key, value] of Object.entries({width: "100%", height: "100%", fill: colour})) square.setAttribute(key, value);
  svg.append(square);
  svg.setAttribute("aria-hidden", "true");
  return element("li", {}, svg, label);
}

function planeView(plane) {
  const last = job.slices[plane] - 1;
  const slider = element("input", {type: "range", min: 0, max: last, value: job.best_slices[plane], ariaLabel: `${plane} slice`});
  const picture = element("img", {id: plane});
  const caption = element("figcaption");
  const {id} = job;
  let busy = false, again = false;

  async function draw() {
    if (!job || job.id !== id) return;
    again = busy;
    if (busy) return;
    busy = true;
    const modality = byId("shown").value;
    const query = new URLSearchParams({modality, opacity: byId("opacity").value});
    try {
      const png = await (await ask(`/jobs/${id}/slices/${plane}/${slider.value}?${query}`)).blob();
      const url = URL.createObjectURL(png);
      picture.onload = () => URL.revokeObjectURL(url);
      picture.src = url;
      picture.alt = `${plane} slice ${slider.value} of ${last}, ${modality}, with the segmentation`;
      caption.textContent = `${plane}, slice ${slider.value} of ${last}`;
    } catch (error) {
      if (job && job.id === id) report(error);
    } finally {
      busy = false;
    }
    if (again) draw();
  }

  slider.oninput = draw;
  picture.onwheel = event => {
    event.preventDefault();
    slider.value = Number(slider.value) + Math.sign(event.deltaY);
    draw();
  };
  byId("shown").addEventListener("change", draw);
  byId("opacity").addEventListener("input", draw);
  draw();
  const sides = [...SIDES[plane]].map(side => element("span", {textContent: side, ariaHidden: "true"}));
  return element("figure", {}, element("div", {className: "frame"}, picture, ...sides), caption, slider);
}

async function save(path, name) {
  const url = URL.createObjectURL(await (await ask(`/jobs/${job.id}/${path}`)).blob());
  element("a", {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

function on(id, event, action) {
  byId(id).addEventListener(event, happened => Promise.resolve(action(happened)).catch(report));
}

on("files", "change", async () => { await add(byId("files").files); byId("files").value = ""; });
on("model", "change", assignAgain);
on("predict", "click", predict);
on("cancel", "click", cancel);
on("forget", "click", async () => { await forget(); say("Removed"); });
on("save", "click", () => save("result", job.file));
on("save-report", "click", () => save("report", `${job.case}.json`));
on("token-form", "submit", async event => { event.preventDefault(); token = byId("token").value.trim(); report(null); await loadModels(); });
for (const event of ["dragover", "dragleave", "drop"]) {
  on("drop", event, async happened => {
    happened.preventDefault();
    byId("drop").classList.toggle("over", event === "dragover");
    if (event === "drop") await add(happened.dataTransfer.files);
  });
}
loadModels().catch(report);
