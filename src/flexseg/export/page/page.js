"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const settings = JSON.parse($("settings").textContent);
  const classes = settings.classes;
  const FLAGS = ["green", "yellow", "red"];
  const FLAG_TEXTS = {
    green: "probably good. Look at it all the same.",
    yellow: "doubtful. Look at it closely.",
    red: "a class is probably wrong. Do not use it unchecked.",
  };
  const STEP = 4 * 65536;
  const images = []; // {file, result, problem}
  let current = -1;
  let worker;

  // Parts of the page, which give up their memory.
  function taken(id) {
    const element = $(id);
    const text = element.textContent;
    const parts = [];
    for (let i = 0; i < text.length; i += STEP) {
      const piece = atob(text.slice(i, i + STEP));
      parts.push(Uint8Array.from(piece, (c) => c.charCodeAt(0)));
    }
    element.remove();
    return new Blob(parts);
  }

  const inflated = (blob) => new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).text();

  // The program beside the page; `ask` gives the answer to a task.
  class Helper {
    constructor(url) {
      this.waiting = new Map();
      this.count = 0;
      this.worker = new Worker(url);
      this.worker.onmessage = ({ data: { id, error, refusal, ...answer } }) => {
        const { resolve, reject } = this.waiting.get(id);
        this.waiting.delete(id);
        if (error === undefined) resolve(answer);
        else reject(Object.assign(new Error(error), { refusal }));
      };
      this.worker.onerror = (event) => {
        for (const { reject } of this.waiting.values()) reject(new Error(event.message || "The program beside the page does not start."));
        this.waiting.clear();
      };
    }

    ask(task, content = {}) {
      return new Promise((resolve, reject) => {
        const id = this.count++;
        this.waiting.set(id, { resolve, reject });
        this.worker.postMessage({ id, task, ...content });
      });
    }

    end() {
      this.worker.terminate();
    }
  }

  const parts = {};
  async function start() {
    if (!parts.wasm) {
      for (const name of ["wasm", "model", "test-pixels", "test-labels"]) parts[name] = taken(name);
      const program = await inflated(taken("worker"));
      parts.worker = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
    }
    worker = new Helper(parts.worker);
    await worker.ask("start", { wasm: parts.wasm, model: parts.model, settings });
  }

  function tell(text, busy = false) {
    $("status").textContent = text;
    $("status").classList.toggle("busy", busy);
  }

  // What is said of the image that is shown, once nothing is computed.
  function tellCurrent() {
    if (running) return;
    const { file, problem, result } = images[current] ?? {};
    if (problem) tell(`${file.name}: ${problem}`);
    else tell(result ? `${result.width} x ${result.height} pixels, ${result.seconds.toFixed(1)} s` : "");
  }

  // Images, one after the other.
  let running = false;
  async function work() {
    if (running || !worker) return;
    running = true;
    for (let image; (image = images.find((one) => !one.result && !one.problem)); ) {
      const left = images.filter((one) => !one.result && !one.problem).length;
      tell(`Segmenting ${image.file.name}${left > 1 ? `, ${left} images left` : ""}`, true);
      try {
        const { picture, mask, ...result } = await worker.ask("segment", { file: image.file });
        image.bitmap = await createImageBitmap(new ImageData(picture, result.width, result.height));
        image.mask = new Blob([mask], { type: "image/png" });
        image.result = { ...result, quality: quality(result) };
      } catch (error) {
        image.problem = told(error);
        if (!error.refusal) await restart();
      }
      list();
      if (image === images[current]) show(current);
    }
    running = false;
    tellCurrent();
    $("save-all").disabled = !images.some((one) => one.result);
  }

  function told(error) {
    if (error.refusal) return error.message;
    console.error(error);
    return `It cannot be segmented here: ${error.message} A large image may need more memory than the browser gives.`;
  }

  // After a failure the memory of the network's program is not to be trusted.
  async function restart() {
    worker.end();
    await start();
  }

  function add(files) {
    if (!files.length) return;
    const first = images.length;
    for (const file of files) images.push({ file });
    $("drop").hidden = true;
    $("queue").hidden = false;
    $("save-all").hidden = images.length < 2;
    show(first);
    work();
  }

  // Expected Dice of each class, as flexseg states it (see its guide to trust).
  function quality({ signal, counts }) {
    const found = {};
    for (const [id, known] of Object.entries(settings.quality)) {
      found[id] = counts[id] ? expected(known, signal[id - 1]) : { flag: absent(known) };
    }
    return found;
  }

  function absent({ absent, missed }) {
    const { fewest, alpha } = settings.limits;
    if (absent >= fewest && missed <= alpha * absent) return "green";
    return absent > 0 && missed < absent / 2 ? "yellow" : "red";
  }

  function expected({ slope, offset, radius, cases }, signal) {
    const { fewestOfALine, leastError, good, failed } = settings.limits;
    if (cases < fewestOfALine) return { flag: "yellow" };
    const clipped = (value) => Math.min(1, Math.max(0, value));
    const dice = clipped(slope * signal + offset);
    const bad = dice < failed;
    if (radius === null) return { dice, flag: bad ? "red" : "yellow" };
    const half = radius * Math.max(1 - dice, leastError);
    const [low, high] = [clipped(dice - half), clipped(dice + half)];
    return { dice, low, high, flag: bad ? "red" : low >= good ? "green" : "yellow" };
  }

  const worst = (found) => FLAGS[Math.max(-1, ...Object.values(found).map(({ flag }) => FLAGS.indexOf(flag)))];
  const spacing = () => Math.max(0, Number($("spacing").value) || 0);
  const areaText = (mm2) => `${mm2 >= 100 ? Math.round(mm2) : Number(mm2.toPrecision(3))} mm²`;

  function list() {
    const items = images.map((image, i) => {
      const button = document.createElement("button");
      button.type = "button";
      if (i === current) button.ariaCurrent = "true";
      const name = Object.assign(document.createElement("span"), { className: "name", textContent: image.file.name });
      const flag = image.result && worst(image.result.quality);
      const state = image.problem ? "not read" : !image.result ? "waiting" : flag || "done";
      const about = Object.assign(document.createElement("span"), { className: "state", textContent: state });
      button.append(name, about);
      button.addEventListener("click", () => show(i));
      const item = document.createElement("li");
      item.append(button);
      return item;
    });
    const focused = [...$("images").children].findIndex((item) => item.contains(document.activeElement));
    $("images").replaceChildren(...items);
    if (focused >= 0) items[Math.min(focused, items.length - 1)].firstChild.focus();
  }

  function show(i) {
    if (i < 0 || i >= images.length) return;
    current = i;
    list();
    const { result } = images[i];
    const canvas = $("canvas");
    canvas.hidden = !result;
    tellCurrent();
    $("save-mask").disabled = $("save-areas").disabled = !result;
    table();
    if (result) paint();
  }

  function table() {
    const result = images[current]?.result;
    const mm = spacing();
    for (const row of document.querySelectorAll("tr[data-class]")) {
      const id = Number(row.dataset.class);
      const area = row.querySelector(".area");
      const cell = row.querySelector(".quality");
      if (!result) {
        area.textContent = cell.textContent = "-";
        continue;
      }
      const count = result.counts[id];
      const share = (100 * count) / result.labels.length;
      const lines = [`${count.toLocaleString("en")} px`, `${share.toPrecision(share >= 100 ? 3 : 2)} %`];
      area.replaceChildren(mm ? areaText(count * mm * mm) : count ? lines[1] : "none");
      if (count) area.append(detail(mm ? `${lines[1]}, ${lines[0]}` : lines[0]));
      cell.className = `quality ${result.quality[id]?.flag || ""}`;
      cell.replaceChildren(...qualityOf(result, id));
    }
    const flag = result && worst(result.quality);
    $("flag").hidden = !flag;
    if (flag) {
      $("flag").className = `flag ${flag}`;
      const strong = Object.assign(document.createElement("strong"), { textContent: flag[0].toUpperCase() + flag.slice(1) });
      $("flag").replaceChildren(strong, `: ${FLAG_TEXTS[flag]}`);
    }
    const found = classes.slice(1).filter((c) => result?.counts[c.id]).map((c) => c.name);
    $("canvas").ariaLabel = result ? `${images[current].file.name} with ${found.join(", ") || "no class"}` : "No image yet";
  }

  const detail = (text) => Object.assign(document.createElement("span"), { className: "detail", textContent: text });

  function qualityOf(result, id) {
    const found = result.quality[id];
    if (!found) return result.counts[id] ? [`${(100 * result.signal[id - 1]).toFixed(1)} %`] : ["-"];
    const strong = document.createElement("strong");
    strong.textContent = found.dice === undefined ? found.flag : `${found.dice.toFixed(2)} ${found.flag}`;
    return found.low === undefined ? [strong] : [strong, detail(`${found.low.toFixed(2)} to ${found.high.toFixed(2)}`)];
  }

  // The image with its classes.
  function paint() {
    const { bitmap, result: { width, height, labels } } = images[current];
    const canvas = $("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(bitmap, 0, 0);
    const seen = new Uint8Array(256);
    for (const row of document.querySelectorAll("tr[data-class]")) {
      seen[row.dataset.class] = Number(row.querySelector("input").checked);
    }
    const outline = $("outline").checked;
    const reach = Math.max(1, Math.round(Math.max(width, height) / 500));
    const drawn = new ImageData(width, height);
    const words = new Uint32Array(drawn.data.buffer);
    const inks = classes.map(({ shown: [r, g, b] }) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const label = labels[i];
        if (!seen[label]) continue;
        const inside = outline && x >= reach && y >= reach && x < width - reach && y < height - reach &&
          labels[i - reach] === label && labels[i + reach] === label &&
          labels[i - reach * width] === label && labels[i + reach * width] === label;
        if (!inside) words[i] = inks[label];
      }
    }
    const layer = new OffscreenCanvas(width, height);
    layer.getContext("2d").putImageData(drawn, 0, 0);
    const opacity = Number($("opacity").value) / 100;
    context.globalAlpha = outline && opacity ? 1 : opacity;
    context.drawImage(layer, 0, 0);
    context.globalAlpha = 1;
    $("opacity-value").value = `${$("opacity").value} %`;
  }

  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  const stem = (name) => name.replace(/\.[^.]*$/, "");

  function areas() {
    const mm = spacing();
    const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
    const lines = [`image,class_id,class,pixels,share${mm ? ",mm2" : ""},dice,dice_low,dice_high,flag`];
    for (const { file, result } of images) {
      if (!result) continue;
      for (const { id, name } of classes.slice(1)) {
        const count = result.counts[id];
        const { dice, low, high, flag } = result.quality[id] || {};
        const known = [dice, low, high].map((value) => (value === undefined ? "" : value.toFixed(4)));
        lines.push([quoted(file.name), id, quoted(name), count, (count / result.labels.length).toFixed(6),
          ...(mm ? [(count * mm * mm).toFixed(4)] : []), ...known, flag || ""].join(","));
      }
    }
    return new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" });
  }

  const saveMask = () => images[current]?.result && save(images[current].mask, `${stem(images[current].file.name)}.png`);

  async function saveAll() {
    const files = new Map();
    for (const { file, mask } of images) {
      if (!mask) continue;
      let name = `${stem(file.name)}.png`;
      for (let n = 2; files.has(name); n++) name = `${stem(file.name)}_${n}.png`;
      files.set(name, mask);
    }
    files.set("areas.csv", areas());
    save((await worker.ask("archive", { files: [...files] })).archive, "masks.zip");
  }

  async function check() {
    $("check").disabled = true;
    $("checked").textContent = "Computing";
    try {
      const { equal } = await worker.ask("check", { pixels: parts["test-pixels"], labels: parts["test-labels"], shape: settings.test });
      const text = `${(100 * equal).toFixed(3)} % of the labels of the test image are equal.`;
      $("checked").textContent = equal >= 0.999 ? text : `${text} Do not use this browser.`;
    } catch (error) {
      $("checked").textContent = told(error);
    }
    $("check").disabled = false;
  }

  const slide = (by) => {
    $("opacity").value = Number($("opacity").value) + by;
    $("opacity").dispatchEvent(new Event("input"));
  };
  const toggle = (id) => {
    $(id).checked = !$(id).checked;
    $(id).dispatchEvent(new Event("change"));
  };
  let opacity = 40;
  const KEYS = {
    ArrowLeft: () => show(current - 1), ArrowRight: () => show(current + 1),
    "+": () => slide(10), "=": () => slide(10), "-": () => slide(-10),
    o: () => toggle("outline"), s: saveMask,
    l: () => {
      const value = Number($("opacity").value);
      if (value) opacity = value;
      slide(value ? -value : opacity);
    },
  };

  function listen() {
    const redraw = () => images[current]?.result && paint();
    const choose = () => $("files").click();
    $("choose").addEventListener("click", choose);
    $("more").addEventListener("click", choose);
    $("files").addEventListener("change", () => {
      add([...$("files").files]);
      $("files").value = "";
    });
    document.addEventListener("paste", ({ clipboardData }) => add([...clipboardData.files]));
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dragged");
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragged"));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dragged");
      add([...event.dataTransfer.files]);
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox])")) return;
      const action = KEYS[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    });
    for (const input of document.querySelectorAll("tr[data-class] input")) input.addEventListener("change", redraw);
    $("opacity").addEventListener("input", () => {
      $("opacity-value").value = `${$("opacity").value} %`;
      redraw();
    });
    $("outline").addEventListener("change", redraw);
    $("spacing").addEventListener("input", table);
    $("save-mask").addEventListener("click", saveMask);
    $("save-areas").addEventListener("click", () => save(areas(), "areas.csv"));
    $("save-all").addEventListener("click", saveAll);
    $("check").addEventListener("click", check);
    $("tell-licences").addEventListener("click", async () => {
      $("all-licences").textContent = await inflated(taken("licences"));
      $("all-licences").hidden = false;
      $("tell-licences").remove();
    });
  }

  function theme() {
    const button = $("theme");
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const tell = () => (button.ariaPressed = String((document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark"));
    button.addEventListener("click", () => {
      document.documentElement.dataset.theme = button.ariaPressed === "true" ? "light" : "dark";
      tell();
    });
    dark.addEventListener("change", tell);
    tell();
  }

  async function main() {
    theme();
    for (const swatch of document.querySelectorAll("[data-colour]")) {
      swatch.style.background = `rgb(${classes[swatch.dataset.colour].shown})`;
    }
    $("opacity-value").value = `${$("opacity").value} %`;
    listen();
    tell("Loading the network", true);
    await start();
    tell("");
    $("check").disabled = false;
    document.documentElement.dataset.ready = "yes";
    work();
  }
  main().catch((error) => {
    console.error(error);
    tell(`The network does not run here: ${error.message} A browser of 2023 or later is needed.`);
  });
})();
