// What a file leaves out, found again: see compact.py.

// A block as scene.js reads it, of one that was deflated, with the bytes of each array in planes.
async function inflated(block) {
  const stream = new Blob([block]).stream().pipeThrough(new DecompressionStream("deflate"));
  const found = await new Response(stream).arrayBuffer();
  for (const array of Object.values(unpacked(found))) {
    const size = array.BYTES_PER_ELEMENT, count = array.length;
    if (size === 1) continue;
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength), planes = bytes.slice();
    for (let k = 0; k < size; k++) for (let i = 0; i < count; i++) bytes[i * size + k] = planes[k * count + i];
  }
  return found;
}

// The corners that turns lead to, and the labels of an edge's other side.
function rejoin(it) {
  const total = it.sides.reduce((sum, one) => sum + one, 0), labels = new Int32Array(total), of = new Map();
  it.corners = new Uint32Array(total);
  const edges = Array.from({ length: it.places.length / 2 }, () => []);
  let known = 0, turn = 0, far = 0, begin = 0;
  const stepped = () => { const step = it.far[far++]; return step ? known - step : known++; };
  for (let c = 0; c < it.sides.length; c++) {
    const ring = it.corners.subarray(begin, begin + it.sides[c]);
    for (let i = 0; i < ring.length; i++) {
      if (i === 0) { ring[i] = stepped(); continue; }
      const to = it.turns[turn++], from = edges[ring[i - 1]];
      ring[i] = to === 0 ? known++ : to === 255 ? stepped() : from[from.length - to];
    }
    for (let i = 0; i < ring.length; i++) {
      const before = ring[i ? i - 1 : ring.length - 1], here = ring[i], place = edges[before].indexOf(here);
      if (place >= 0) edges[before].splice(place, 1); else edges[here].push(before);
    }
    for (let i = 0; i < ring.length; i++) {
      const here = ring[i], after = ring[i + 1 < ring.length ? i + 1 : 0], count = edges.length;
      const other = of.get(after * count + here);
      labels[begin + i] = other ?? it.labels[begin + i];
      of.set(here * count + after, labels[begin + i]);
    }
    begin += ring.length;
  }
  it.labels = labels;
}

// Patterns and affine maps of a file that leaves them out: the network at each cell's centre. Of the whole square only.
function restore(it) {
  const { dims, outputs } = it.model;
  const words = dims.slice(1, -1).map(width => 2 * Math.ceil(width / 64));
  it.patterns = new Uint32Array(it.count * words.reduce((sum, one) => sum + one, 0));
  it.maps = new Float64Array(it.count * outputs * 3);
  let word = 0;
  for (let c = 0; c < it.count; c++) {
    let h = [it.centres[2 * c], it.centres[2 * c + 1]], along = [1, 0], up = [0, 1], place = 0;
    for (let layer = 1; layer < dims.length; layer++) {
      const out = dims[layer], into = dims[layer - 1], hidden = layer < dims.length - 1;
      const z = new Float64Array(out), zx = new Float64Array(out), zy = new Float64Array(out);
      for (let row = 0; row < out; row++) {
        let sum = it.parameters[place + out * into + row], sx = 0, sy = 0;
        for (let k = 0, w = place + row * into; k < into; k++, w++) {
          sum += it.parameters[w] * h[k]; sx += it.parameters[w] * along[k]; sy += it.parameters[w] * up[k];
        }
        const factor = hidden && sum <= 0 ? it.model.slope : 1;
        if (hidden && sum > 0) it.patterns[word + (row >> 5)] |= 1 << (row & 31);
        z[row] = factor * sum; zx[row] = factor * sx; zy[row] = factor * sy;
      }
      place += out * (into + 1);
      if (hidden) word += words[layer - 1];
      h = z; along = zx; up = zy;
    }
    for (let k = 0; k < outputs; k++) {
      it.maps[3 * (c * outputs + k)] = along[k];
      it.maps[3 * (c * outputs + k) + 1] = up[k];
      it.maps[3 * (c * outputs + k) + 2] = h[k] - along[k] * it.centres[2 * c] - up[k] * it.centres[2 * c + 1];
    }
  }
}
