// Sources of the values of a prediction: fields, texts, files, drawings and images.
//
// Each source has a `node` and `read()`, which returns {rows: [[number, ...], ...]}, {texts: [...]} or {bytes}; it throws an Error
// with a message for the user.

import { el } from "../dom.js";

/** The largest number of values for which there is a field each. */
const FIELDS = 16;

/** The numbers of one record of a tensor; null if that is variable. */
export function sizeOf({ shape }) {
  const rest = shape.slice(1);
  return rest.every((each) => each > 0) ? rest.reduce((a, b) => a * b, 1) : null;
}

/** The image that a record of a tensor may be: {width, height, channels, first}; null if it cannot be one. */
export function imageOf(input) {
  if (input.dtype === "bytes" || input.dtype === "bool") return null;
  const [a, b, c] = input.shape.slice(1);
  if (input.shape.length === 2) {
    const side = Math.sqrt(a);
    return Number.isInteger(side) && side >= 4 ? { width: side, height: side, channels: 1 } : null;
  }
  if (input.shape.length === 3 && a >= 4 && b >= 4) return { width: b, height: a, channels: 1 };
  if (input.shape.length !== 4) return null;
  if ([1, 3].includes(c) && a >= 4 && b >= 4) return { width: b, height: a, channels: c };
  return [1, 3].includes(a) && b >= 4 && c >= 4 ? { width: c, height: b, channels: a, first: true } : null;
}

/** The sources for a declared input: [label, function that makes it]. */
export function sources(input) {
  if (!input) return [["Text", textSource], ["File", fileSource]];
  if (input.codec === "image") return [["Image", fileSource], ["Draw", () => paintedSource(input)]];
  if (input.codec) return [["Text", textSource], ["File", textFileSource]];
  if (input.dtype === "bytes") return [["Text", textSource], ["CSV", () => tableSource(input)]];
  const image = imageOf(input);
  const size = sizeOf(input);
  return [
    ...(image ? [["Draw", () => drawingSource(input, image)], ["Image", () => imageSource(input, image)]] : []),
    ...(size !== null && size <= FIELDS ? [["Fields", () => fieldsSource(input, size)]] : []),
    ["Numbers", () => numbersSource(input)],
    ["CSV", () => tableSource(input)],
  ];
}

// --- texts and files ---------------------------------------------------------------------------------------------

export function textSource() {
  const area = el("textarea", { rows: 5, "aria-label": "Text", placeholder: "Text of the record" });
  return { node: area, read: () => ({ texts: [area.value] }) };
}

export function fileSource() {
  const file = chooseFile("A file whose content is the record");
  return {
    node: file,
    read: async () => ({ bytes: new Uint8Array(await chosen(file).arrayBuffer()) }),
  };
}

function textFileSource() {
  const file = chooseFile("A file with the text");
  return { node: file, read: async () => ({ texts: [await chosen(file).text()] }) };
}

const chooseFile = (label, accept) => el("input", { type: "file", accept, "aria-label": label });

function chosen(file) {
  if (!file.files.length) throw new Error("No file is chosen.");
  return file.files[0];
}

// --- numbers -----------------------------------------------------------------------------------------------------

function fieldsSource(input, size) {
  const fields = Array.from({ length: size }, (_, i) =>
    el("input", { type: "number", step: "any", value: 0, "aria-label": `${input.name}, value ${i + 1} of ${size}` }),
  );
  return {
    node: el("div", { class: "numbers" }, fields),
    read: () => ({ rows: [fields.map((each) => Number(each.value))] }),
  };
}

function numbersSource(input) {
  const size = sizeOf(input);
  const label = `${size ?? "Any number of"} numbers, as JSON or separated by commas; each line is a record`;
  const area = el("textarea", { rows: 5, spellcheck: "false", "aria-label": label, placeholder: label });
  return { node: area, read: () => ({ rows: checked(numbersOf(area.value), size) }) };
}

/** The records in a text: a JSON array, of numbers or of records, or lines of numbers. */
function numbersOf(text) {
  const trimmed = text.trim();
  if (!trimmed) throw new Error("There are no numbers.");
  if (trimmed.startsWith("[")) {
    let value;
    try {
      value = JSON.parse(trimmed);
    } catch (error) {
      throw new Error(`The text is not JSON: ${error.message}`);
    }
    return (Array.isArray(value[0]) ? value : [value]).map((record) => record.flat(Infinity));
  }
  return trimmed.split(/\r?\n/).map((line) => line.trim().split(/[,;\s]+/).map(Number));
}

function checked(rows, size) {
  rows.forEach((row, i) => {
    const bad = row.findIndex((value) => typeof value !== "number" || !Number.isFinite(value));
    if (bad >= 0) throw new Error(`Record ${i + 1}: value ${bad + 1} is not a number.`);
    if (size !== null && row.length !== size) throw new Error(`Record ${i + 1} has ${row.length} numbers; expected ${size}.`);
  });
  return rows;
}

/** A CSV file. A line that is not a record, such as a header, is left out at the beginning, and columns beyond those needed at the end. */
function tableSource(input) {
  const file = chooseFile("A CSV file with a record in each line", ".csv,.txt,text/csv,text/plain");
  const skip = el("input", { type: "number", min: 0, value: 0, id: "skipped" });
  const node = el(
    "div",
    { class: "fields" },
    file,
    el("div", { class: "field" }, el("label", { for: "skipped" }, "Columns to leave out at the left"), skip),
  );
  async function read() {
    const size = sizeOf(input);
    const left = Number(skip.value);
    const lines = (await chosen(file).text()).split(/\r?\n/).filter((line) => line.trim());
    const cells = lines.map((line) => line.split(/[,;\t]/).slice(left, size === null ? undefined : left + size));
    if (input.dtype === "bytes") return { texts: cells.map((row) => row.join(",")) };
    const rows = cells.map((row) => row.map((cell) => (cell.trim() === "" ? NaN : Number(cell))));
    return { rows: checked(rows[0]?.some(Number.isNaN) ? rows.slice(1) : rows, size) };
  }
  return { node, read };
}

// --- drawings and images -----------------------------------------------------------------------------------------

/** The largest value of a pixel, unless the visitor changes it. The UCI digits have 8 x 8 pixels from 0 to 16. */
function largestOf({ dtype }, { width, height }) {
  if (dtype === "uint8") return 255;
  return width * height === 64 ? 16 : 1;
}

function largestField(input, image) {
  const control = el("input", { type: "number", min: 0, step: "any", value: largestOf(input, image), id: "largest" });
  return [control, el("div", { class: "field" }, el("label", { for: "largest" }, "Value of a full pixel"), control)];
}

const STROKE = 256;
const SIDE = 128; // pixels of a drawing for a model that takes images of any size

/** A drawing as the numbers of a tensor. */
function drawingSource(input, image) {
  const [largest, field] = largestField(input, image);
  const { node, pixels } = sketch(image, "numbers", field);
  return { node, read: () => ({ rows: [arranged(pixels().map((ink) => [ink, ink, ink]), image, Number(largest.value))] }) };
}

/** A drawing as an image file. */
function paintedSource({ shape }) {
  const [height, width] = [shape[1], shape[2]].map((each) => (each > 0 ? each : SIDE));
  const { node, pixels, small } = sketch({ width, height }, "a file");
  async function read() {
    small.show(pixels());
    const file = await new Promise((done) => { small.node.toBlob(done); });
    return { bytes: new Uint8Array(await file.arrayBuffer()) };
  }
  return { node, read };
}

/** A field to draw on with mouse, pen or finger, in light ink on a dark ground. The drawing is fitted to the height of the image. */
function sketch(image, other, ...fields) {
  const canvas = el("canvas", {
    class: "drawing",
    width: STROKE,
    height: Math.round((STROKE * image.height) / image.width),
    role: "img",
    "aria-label": `Field to draw on with mouse, pen or finger; ${image.width} by ${image.height} pixels. The same can be entered as ${other}.`,
  });
  const small = preview(image);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = "#fff";
  context.lineWidth = STROKE / 11;

  const place = ({ offsetX, offsetY }) => [
    (offsetX * canvas.width) / canvas.clientWidth,
    (offsetY * canvas.height) / canvas.clientHeight,
  ];
  function stroke(event) {
    context.lineTo(...place(event));
    context.stroke();
  }
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    context.beginPath();
    context.moveTo(...place(event));
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => event.buttons && stroke(event));
  canvas.addEventListener("pointerup", () => {
    small.show(pixels());
    canvas.dispatchEvent(new Event("change", { bubbles: true }));
  });
  function clear() {
    context.clearRect(0, 0, canvas.width, canvas.height);
    small.show([]);
  }

  /** The drawing with as many pixels as the image, each from 0 to 1. */
  function pixels() {
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let [left, right, top, bottom] = [canvas.width, -1, canvas.height, -1];
    for (let i = 3; i < data.length; i += 4) {
      if (data[i] === 0) continue;
      const [x, y] = [((i - 3) / 4) % canvas.width, Math.floor((i - 3) / 4 / canvas.width)];
      [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
    }
    if (right < 0) throw new Error("Nothing is drawn yet.");
    const scale = Math.min(image.height / (bottom - top + 1), image.width / (right - left + 1));
    const [width, height] = [(right - left + 1) * scale, (bottom - top + 1) * scale];
    const target = [(image.width - width) / 2, (image.height - height) / 2, width, height];
    return sampled(image, (fine, times) =>
      fine.drawImage(canvas, left, top, right - left + 1, bottom - top + 1, ...target.map((each) => each * times)),
    ).map((pixel) => pixel.ink);
  }

  const node = el(
    "div",
    { class: "sketch" },
    el("div", {}, canvas, el("button", { type: "button", class: "small", onclick: clear }, "Clear")),
    el("div", { class: "fields" }, small.node, fields),
  );
  return { node, pixels, small };
}

/** An image file, reduced to the size that the model takes. */
function imageSource(input, image) {
  const file = chooseFile("An image", "image/*");
  const invert = el("input", { type: "checkbox", id: "invert" });
  const [largest, field] = largestField(input, image);
  const small = preview(image);

  async function colours() {
    const bitmap = await createImageBitmap(chosen(file)).catch(() => {
      throw new Error("This browser cannot read the file as an image.");
    });
    const found = sampled(image, (fine, times) => fine.drawImage(bitmap, 0, 0, image.width * times, image.height * times));
    return found.map(({ rgb }) => rgb.map((value) => (invert.checked ? 1 - value : value)));
  }
  async function look() {
    const found = await colours();
    small.show(found.map(grey));
  }
  file.addEventListener("change", async () => {
    // Most models expect light ink on a dark ground.
    invert.checked = false;
    const found = await colours().catch(() => []);
    invert.checked = image.channels === 1 && found.length > 0 && found.map(grey).reduce((a, b) => a + b) / found.length > 0.5;
    await look().catch(() => small.show([]));
  });
  invert.addEventListener("change", () => look().catch(() => {}));
  const node = el(
    "div",
    { class: "sketch" },
    el("div", { class: "fields" }, file, el("label", { class: "check" }, invert, "Invert light and dark"), field),
    small.node,
  );
  return { node, read: async () => ({ rows: [arranged(await colours(), image, Number(largest.value))] }) };
}

const grey = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b;

/** Paint with 16 times the pixels in each direction, and return the mean of each pixel: {ink, rgb}, from 0 to 1. */
function sampled({ width, height }, paint) {
  const times = Math.max(1, Math.min(16, Math.floor(4096 / Math.max(width, height)))); // the size of a canvas is limited
  const fine = el("canvas", { width: width * times, height: height * times }).getContext("2d");
  paint(fine, times);
  const { data } = fine.getImageData(0, 0, width * times, height * times);
  return Array.from({ length: width * height }, (_, i) => {
    const sums = [0, 0, 0, 0];
    const [left, top] = [(i % width) * times, Math.floor(i / width) * times];
    for (let y = top; y < top + times; y += 1) {
      for (let x = left; x < left + times; x += 1) {
        const at = 4 * (y * width * times + x);
        for (let channel = 0; channel < 4; channel += 1) sums[channel] += data[at + channel];
      }
    }
    const [r, g, b, ink] = sums.map((sum) => sum / (255 * times * times));
    return { ink, rgb: [r, g, b] };
  });
}

/** The values of a record, in the order in which the tensor has them. */
function arranged(colours, { channels, first }, largest) {
  const value = (share) => Math.round(share * largest * 1000) / 1000;
  if (channels === 1) return colours.map((colour) => value(grey(colour)));
  if (!first) return colours.flatMap((colour) => colour.map(value));
  return [0, 1, 2].flatMap((channel) => colours.map((colour) => value(colour[channel])));
}

/** The image for the model, enlarged. */
function preview({ width, height }) {
  const canvas = el("canvas", { class: "pixels", width, height, role: "img", "aria-label": "The image as the model receives it" });
  const context = canvas.getContext("2d");
  return {
    node: canvas,
    show(values) {
      context.clearRect(0, 0, width, height);
      values.forEach((value, i) => {
        const level = Math.round(value * 255);
        context.fillStyle = `rgb(${level} ${level} ${level})`;
        context.fillRect(i % width, Math.floor(i / width), 1, 1);
      });
    },
  };
}
