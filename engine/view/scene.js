// What every script of a page shares: a window's cells, from the arrays of packet.py to colours, lines and words.

const KINDS = {
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int16: Int16Array, int32: Int32Array,
  float32: Float32Array, float64: Float64Array,
};

// The arrays of a block by their names.
function unpacked(block) {
  const found = {};
  if (!block || block.byteLength === 0) return found;
  const length = new DataView(block).getUint32(0, true);
  let place = 4 + length;
  for (const [name, kind, count] of JSON.parse(new TextDecoder().decode(new Uint8Array(block, 4, length)))) {
    place += -place & 7;
    found[name] = new KINDS[kind](block, place, count);
    place += found[name].byteLength;
  }
  return found;
}

// The arrays of a scene's packet, with what can be found from them; a packet is read once. `model` has dims, slope,
// outputs and the raster's columns and rows.
function ready(scene) {
  if (scene._packet === scene.packet && scene._ready) return scene._ready;
  const it = unpacked(scene.packet);
  it.model = scene.model instanceof Map ? Object.fromEntries(scene.model) : scene.model;
  it.count = it.sides ? it.sides.length : 0;
  scene._packet = scene.packet;
  scene._ready = it;
  if (it.count === 0) return it;
  if (!it.corners) rejoin(it);
  it.begins = new Uint32Array(it.count + 1);
  for (let c = 0; c < it.count; c++) it.begins[c + 1] = it.begins[c] + it.sides[c];
  const [left, top, right, bottom] = it.window;
  it.left = left; it.top = top; it.width = right - left; it.height = bottom - top;
  measure(it);
  if (!it.maps) restore(it);
  it.target ??= new Uint8Array(scene.target ?? 0);
  it.plane = plane(it, it.model.columns, it.model.rows, it.window);
  return it;
}

// Areas, of the image's own square, and centres of mass, in the window.
function measure(it) {
  it.areas = new Float64Array(it.count);
  it.centres = new Float64Array(2 * it.count);
  const { places, corners, begins } = it;
  for (let c = 0; c < it.count; c++) {
    const x0 = places[2 * corners[begins[c]]], y0 = places[2 * corners[begins[c]] + 1];
    let area = 0, x = 0, y = 0;
    for (let i = begins[c] + 1; i + 1 < begins[c + 1]; i++) {
      const a = 2 * corners[i], b = 2 * corners[i + 1];
      const ax = places[a] - x0, ay = places[a + 1] - y0, bx = places[b] - x0, by = places[b + 1] - y0;
      const piece = (ax * by - ay * bx) / 2;
      area += piece; x += piece * (ax + bx) / 3; y += piece * (ay + by) / 3;
    }
    it.centres[2 * c] = area > 0 ? x0 + x / area : x0;
    it.centres[2 * c + 1] = area > 0 ? y0 + y / area : y0;
    it.areas[c] = Math.max(area, 0) * it.width * it.height;
  }
}

// The cell of each sample of a raster of a window.
function plane(it, columns, rows, [left0, top0, right0, bottom0]) {
  const found = new Int32Array(columns * rows);
  const { corners, begins } = it, count = it.places.length / 2, places = new Float64Array(2 * count);
  const wide = columns / (right0 - left0), tall = rows / (bottom0 - top0);
  for (let v = 0; v < count; v++) { // in samples, of which each stands for its middle
    places[2 * v] = ((it.left - left0) + it.width * it.places[2 * v]) * wide - 0.5;
    places[2 * v + 1] = ((it.top - top0) + it.height * it.places[2 * v + 1]) * tall - 0.5;
  }
  const left = new Float64Array(rows), right = new Float64Array(rows);
  for (let c = 0; c < it.count; c++) {
    let low = Infinity, high = -Infinity;
    for (let i = begins[c]; i < begins[c + 1]; i++) {
      const y = places[2 * corners[i] + 1];
      if (y < low) low = y;
      if (y > high) high = y;
    }
    const top = Math.max(0, Math.ceil(low)), bottom = Math.min(rows - 1, Math.floor(high));
    for (let row = top; row <= bottom; row++) { left[row] = Infinity; right[row] = -Infinity; }
    for (let i = begins[c]; top <= bottom && i < begins[c + 1]; i++) {
      let a = 2 * corners[i], b = 2 * corners[i + 1 < begins[c + 1] ? i + 1 : begins[c]];
      if (places[a + 1] > places[b + 1]) { const once = a; a = b; b = once; }
      const xa = places[a], ya = places[a + 1], xb = places[b], yb = places[b + 1];
      const end = Math.min(bottom, Math.floor(yb)), slope = yb > ya ? (xb - xa) / (yb - ya) : 0;
      for (let row = Math.max(top, Math.ceil(ya)); row <= end; row++) {
        const x = xa + (row - ya) * slope;
        if (x < left[row]) left[row] = x;
        if (x > right[row]) right[row] = x;
        if (ya === yb) { left[row] = Math.min(left[row], xb); right[row] = Math.max(right[row], xb); }
      }
    }
    for (let row = top; row <= bottom; row++) {
      const last = row * columns + Math.min(columns - 1, Math.floor(right[row]));
      for (let place = row * columns + Math.max(0, Math.ceil(left[row])); place <= last; place++) found[place] = c;
    }
  }
  return found;
}

// The network at a sample of the raster, from 0 to 1 where it is a gray value.
function output(it, cell, k, x, y) {
  const m = 3 * (cell * it.model.outputs + k);
  return it.maps[m] * x + it.maps[m + 1] * y + it.maps[m + 2];
}

function at(it, sample) {
  const { columns, rows } = it.model;
  const x = it.left + it.width * ((sample % columns) + 0.5) / columns;
  return [x, it.top + it.height * (Math.floor(sample / columns) + 0.5) / rows];
}

function channels(it) {
  return it.target && it.target.length ? it.target.length / it.plane.length : 0;
}

// The mean distance of the network to the image over each cell, in shares of the gray scale; NaN where there is none.
function errors(it) {
  const found = new Float64Array(it.count), seen = new Float64Array(it.count), ways = channels(it);
  if (ways !== it.model.outputs) return found.fill(NaN);
  const distance = (cell, sample, x, y) => {
    let sum = 0;
    for (let k = 0; k < ways; k++) sum += Math.abs(output(it, cell, k, x, y) - it.target[sample * ways + k] / 255);
    return sum / ways;
  };
  for (let sample = 0; sample < it.plane.length; sample++) {
    const cell = it.plane[sample];
    found[cell] += distance(cell, sample, ...at(it, sample));
    seen[cell] += 1;
  }
  for (let c = 0; c < it.count; c++) {
    if (seen[c]) { found[c] /= seen[c]; continue; }
    const column = Math.min(it.model.columns - 1, Math.floor(it.centres[2 * c] * it.model.columns));
    const row = Math.min(it.model.rows - 1, Math.floor(it.centres[2 * c + 1] * it.model.rows));
    const x = it.left + it.width * it.centres[2 * c], y = it.top + it.height * it.centres[2 * c + 1];
    found[c] = distance(c, row * it.model.columns + column, x, y);
  }
  return found;
}

// A number of each cell by what colours tell, and its place on a scale of 256.
function values(it, kind) {
  const words = it.patterns.length / it.count;
  const of = {
    pattern: c => {
      let mixed = 0x9e3779b9;
      for (let w = c * words; w < (c + 1) * words; w++) {
        mixed = Math.imul(mixed ^ it.patterns[w], 0x85ebca6b);
        mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
        mixed ^= mixed >>> 16;
      }
      return mixed & 255;
    },
    age: c => it.born[c] < 0 ? NaN : it.epoch[0] - it.born[c],
    area: c => it.areas[c],
    gradient: c => {
      let sum = 0;
      for (let k = 0; k < it.model.outputs; k++) {
        const m = 3 * (c * it.model.outputs + k);
        sum += it.maps[m] ** 2 + it.maps[m + 1] ** 2;
      }
      return Math.sqrt(sum);
    },
    output: c => {
      let sum = 0;
      const x = it.left + it.width * it.centres[2 * c], y = it.top + it.height * it.centres[2 * c + 1];
      for (let k = 0; k < it.model.outputs; k++) sum += output(it, c, k, x, y);
      return sum / it.model.outputs;
    },
    error: null,
  };
  return kind === "error" ? errors(it) : Float64Array.from({ length: it.count }, (_, c) => of[kind](c));
}

const FIXED = { pattern: v => v, output: v => 255 * v };
const SCALED = { age: v => Math.log1p(v), area: v => Math.log(v), gradient: v => Math.log(Math.max(v, 1e-12)), error: v => v };

function levels(kind, found) {
  if (FIXED[kind]) return found.map(v => Math.min(255, Math.max(0, Math.floor(FIXED[kind](v)))));
  const told = found.map(SCALED[kind]);
  let low = Infinity, high = -Infinity;
  for (const v of told) if (isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
  return told.map(v => isFinite(v) && high > low ? Math.floor(255 * (v - low) / (high - low)) : 0);
}

function scaled(kind, found) {
  const says = { age: "age, epochs", area: "area", gradient: "length of the gradient", error: "error, mean" };
  if (!says[kind]) return "";
  let low = Infinity, high = -Infinity;
  for (const v of found) if (isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
  return low > high ? `${says[kind]}: not known` : `${says[kind]}: dark ${number(low)}, bright ${number(high)}`;
}

function number(value) {
  return value === 0 ? "0" : Math.abs(value) >= 1e-3 && Math.abs(value) < 1e6 ? String(+value.toPrecision(5)) : value.toExponential(3);
}

// What is seen of the cells, as a raster of a screen's pixels: a browser takes ten times as long to fill polygons.
function shade(scene, shades) {
  const it = ready(scene), [width, height] = it.model.screen, image = shades.data.image[0];
  const finer = Math.min(2, window.devicePixelRatio || 1), columns = Math.round(width * finer), rows = Math.round(height * finer);
  const fits = image.shape[0] === rows && image.shape[1] === columns;
  const pixels = fits ? image : new image.constructor(new Uint32Array(columns * rows).buffer, [rows, columns]);
  if (it.fill) {
    const cells = plane(it, columns, rows, scene.window);
    for (let i = 0; i < cells.length; i++) pixels[i] = it.fill[cells[i]];
  } else pixels.fill(0);
  const [left, top, right, bottom] = scene.window;
  shades.data = { image: [pixels], x: [left], y: [top], dw: [right - left], dh: [bottom - top] };
}

// The cells as polygons, which a pointer finds, and the walls of each layer as one line with gaps.
function draw(scene, sources) {
  const it = ready(scene), { cells, walls, prediction, target, palettes } = sources;
  const xs = new Array(it.count), ys = new Array(it.count), lines = it.model.dims.slice(1, -1).map(() => [[], []]);
  const bounds = it.model.dims.slice(1, -1).reduce((sums, width) => [...sums, sums[sums.length - 1] + width], [0]);
  for (let c = 0; c < it.count; c++) {
    const x = xs[c] = new Float64Array(it.sides[c]), y = ys[c] = new Float64Array(it.sides[c]);
    for (let i = 0; i < it.sides[c]; i++) {
      const place = 2 * it.corners[it.begins[c] + i];
      x[i] = it.left + it.width * it.places[place];
      y[i] = it.top + it.height * it.places[place + 1];
    }
    for (let i = 0; i < it.sides[c]; i++) {
      const side = it.begins[c] + i, next = i + 1 < it.sides[c] ? i + 1 : 0;
      if (it.labels[side] < 0 || it.corners[side] > it.corners[it.begins[c] + next]) continue; // once of each two
      let layer = 0;
      while (it.labels[side] >= bounds[layer + 1]) layer++;
      lines[layer][0].push(x[i], x[next], NaN);
      lines[layer][1].push(y[i], y[next], NaN);
    }
  }
  const shown = lines.map((_, layer) => layer).filter(layer => scene.layers.includes(layer));
  const found = it.count ? values(it, scene.colour) : [];
  const places = it.count ? levels(scene.colour, found) : [];
  const palette = palettes[scene.colour] ?? palettes.scale;
  const shades = palette.map(name => (0xff000000 | parseInt(name.slice(5, 7) + name.slice(3, 5) + name.slice(1, 3), 16)) >>> 0);
  it.fill = it.count ? Uint32Array.from(places, level => shades[level]) : null;
  shade(scene, sources.shades);
  cells.data = { xs, ys, cell: xs.map((_, c) => c) };
  walls.data = {
    xs: shown.map(layer => lines[layer][0]), ys: shown.map(layer => lines[layer][1]),
    colour: shown.map(layer => palettes.layers[layer]),
  };
  sources.key.text = it.count ? scaled(scene.colour, found) : "";
  if (sources.predicted.visible) paint(it, prediction, (sample, k) => {
    const [x, y] = at(it, sample);
    return it.model.outputs > k ? 255 * output(it, it.plane[sample], k, x, y) : null;
  });
  const ways = channels(it);
  if (sources.image.visible) paint(it, target, (sample, k) => ways > k ? it.target[sample * ways + k] : null);
}

// A raster's samples as colours, gray where there is one channel.
function paint(it, source, value) {
  const image = source.data.image[0], alpha = 0xff000000;
  if (!it.count || value(0, 0) === null) { image.fill(0); source.change.emit(); return; }
  const level = (sample, k) => Math.min(255, Math.max(0, Math.round(value(sample, k))));
  const coloured = value(0, 2) !== null;
  for (let sample = 0; sample < image.length; sample++) {
    const red = level(sample, 0), green = coloured ? level(sample, 1) : red, blue = coloured ? level(sample, 2) : red;
    image[sample] = (alpha | blue << 16 | green << 8 | red) >>> 0;
  }
  source.data.x = [it.left]; source.data.y = [it.top]; source.data.dw = [it.width]; source.data.dh = [it.height];
  source.change.emit();
}

// What is told of a cell that a pointer is on.
function told(scene, cell, what) {
  const it = ready(scene), { dims, outputs } = it.model;
  if (cell >= it.count) return "";
  if (what === "pattern") {
    const words = it.patterns.length / it.count, found = [];
    let place = cell * words;
    for (const width of dims.slice(1, -1)) {
      let text = "";
      for (let w = 0; w < 2 * Math.ceil(width / 64); w++) text = it.patterns[place++].toString(16).padStart(8, "0") + text;
      found.push(text.slice(-Math.ceil(width / 4)));
    }
    return found.join(" ");
  }
  if (what === "area") return number(it.areas[cell]);
  if (what === "sides") return String(it.sides[cell]);
  if (what === "age") return it.born[cell] < 0 ? "not known" : `${it.epoch[0] - it.born[cell]} epochs, since ${it.born[cell]}`;
  if (what === "map") {
    const found = [];
    for (let k = 0; k < outputs; k++) {
      const [x, y, one] = it.maps.slice(3 * (cell * outputs + k), 3 * (cell * outputs + k) + 3);
      found.push(`${number(x)} x ${y < 0 ? "-" : "+"} ${number(Math.abs(y))} y ${one < 0 ? "-" : "+"} ${number(Math.abs(one))}`);
    }
    return found.join("; ");
  }
  const bounds = dims.slice(1, -1).reduce((sums, width) => [...sums, sums[sums.length - 1] + width], [0]);
  const found = dims.slice(1, -1).map(() => new Set());
  for (let side = it.begins[cell]; side < it.begins[cell + 1]; side++) {
    const label = it.labels[side];
    const layer = bounds.findIndex((_, one) => label >= bounds[one] && label < bounds[one + 1]);
    if (layer >= 0) found[layer].add(label - bounds[layer]);
  }
  const words = found.map((ones, layer) => ones.size ? `layer ${layer + 1}: ${[...ones].sort((a, b) => a - b).join(", ")}` : "");
  return words.filter(one => one).join("; ") || "none";
}
