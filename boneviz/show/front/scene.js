/** Draws slices with WebGL2: puts volumes on the GPU and tells the program what to make of them. */

import { PLANES } from "./geometry.js";
import { DEFAULT_THRESHOLD, leastByte, thresholdOf, washMap } from "./modes.js";
import { imageProgram, readingProgram } from "./shader.js";
import { colourTable, parseHex } from "./window.js";

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./geometry.js").Lattice} Lattice */
/** @typedef {import("./geometry.js").PlaneName} PlaneName */
/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {import("./geometry.js").View} View */
/** @typedef {{level: number, width: number, suvMin: number, suvMax: number, petScale: number, opacity: number, mode: "ct" | "pet" | "fused", colourMap: string, exact: boolean}} Look */
/** @typedef {import("./modes.js").Line} Line */
/** @typedef {{lines: Line[], fill: import("./modes.js").Fill, readers: import("./modes.js").Reader[], thresholds: Record<string, number>, dial: object, revision: number, box: [number[], number[]] | null, pairColours: string[], heatColours: string[]}} Shown what the readers say, and how it is shown */

export const MAX_READERS = 8;
/** Texture units: 0 CT, 1 PET, 2 bits, 3 colours, then the models' probabilities and the wash. */
const FIRST_PROBABILITY = 5;

/**
 * How far beside the edge each reader's line runs, in line widths, so that lines of readers who
 * agree lie beside each other: solid lines share one set of lanes, dashed lines another.
 *
 * @param {{dashed: boolean}[]} readers
 * @returns {number[]}
 */
export function lanes(readers) {
  return readers.map((reader, i) => {
    const alike = readers.filter((other) => other.dashed === reader.dashed).length;
    const rank = readers.slice(0, i).filter((other) => other.dashed === reader.dashed).length;
    return Math.max(-1.5, Math.min(1.5, (alike - 1) / 2 - rank));
  });
}

/** @param {Line[]} lines @param {(line: Line) => boolean} test */
function bitsOf(lines, test) {
  return lines.reduce((bits, line, i) => bits | (test(line) ? 1 << i : 0), 0);
}

/** @param {string} colour @returns {number[]} */
function rgb(colour) {
  return parseHex(colour).map((c) => c / 255);
}

/** The readers whose outline follows from a probability, not from their bit: place, probability, least byte inside. @param {Shown} shown @returns {[number, NonNullable<import("./modes.js").Reader["probability"]>, number][]} */
function softOf({ readers, thresholds }) {
  return readers.flatMap(({ name, probability, made }, i) => {
    const byte = leastByte(thresholdOf(thresholds, name));
    return probability && (made || byte !== leastByte(DEFAULT_THRESHOLD)) ? [[i, probability, byte]] : [];
  });
}

/** @typedef {{corner: number[], size: number[], start: number[], right: number[], upwards: number[], axes: number[], mmPerPixel: number}} Place where a panel is on the canvas, device pixels from below, and in the patient, mm */

/** Where a panel lies, and what millimetres its pixels are. @param {PlaneName} plane @param {View} view @param {Vec3} sliceMm @param {number[]} rect left, bottom, width and height, device pixels @param {number} ratio @returns {Place} */
export function placeOf(plane, view, sliceMm, [left, bottom, wide, high], ratio) {
  const { across, up, normal } = PLANES[plane];
  const mmPerPixel = 1 / (view.pxPerMm * ratio);
  const start = [...sliceMm];
  if (plane === "mip") start[normal] = 0;
  start[across] = view.centre[across] + (wide / 2) * mmPerPixel;
  start[up] = view.centre[up] - (high / 2) * mmPerPixel;
  const [right, upwards] = [[0, 0, 0], [0, 0, 0]];
  right[across] = -mmPerPixel;
  upwards[up] = mmPerPixel;
  return { corner: [left, bottom], size: [wide, high], start, right, upwards, axes: [across, up], mmPerPixel };
}

/** The part of a panel that a box of mm covers: left, bottom, width, height, or null. @param {Place} place @param {[number[], number[]] | null} box lowest and highest mm across and up @returns {number[] | null} */
export function partOf({ corner, size, start, axes, mmPerPixel }, box) {
  if (!box) return null;
  const [[lowAcross, lowUp], [highAcross, highUp]] = box;
  // across, millimetres fall to the right
  const x = [start[axes[0]] - highAcross, start[axes[0]] - lowAcross].map((mm) => mm / mmPerPixel);
  const y = [lowUp - start[axes[1]], highUp - start[axes[1]]].map((mm) => mm / mmPerPixel);
  const from = [Math.max(0, Math.floor(x[0]) - 1), Math.max(0, Math.floor(y[0]) - 1)];
  const to = [Math.min(size[0], Math.ceil(x[1]) + 1), Math.min(size[1], Math.ceil(y[1]) + 1)];
  if (to[0] <= from[0] || to[1] <= from[1]) return null;
  return [corner[0] + from[0], corner[1] + from[1], to[0] - from[0], to[1] - from[1]];
}

export class Scene {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", {
      alpha: false, antialias: false, depth: false, stencil: false, preserveDrawingBuffer: true,
      powerPreference: "high-performance",
    });
    if (!gl) throw new Error("this browser offers no WebGL2");
    this.gl = gl;
    this.canvas = canvas;
    this.images = imageProgram(gl);
    /** @type {Map<string, import("./shader.js").Program>} */
    this.readings = new Map();
    this.program = this.images; // the one in use
    /** @type {Map<string, {texture: WebGLTexture, lattice: Lattice}>} */
    this.volumes = new Map();
    this.colours = /** @type {WebGLTexture} */ (gl.createTexture());
    this.colourMap = "";
  }

  /** @param {string} name */
  at(name) {
    return this.program.at(name);
  }

  /** @param {import("./shader.js").Program} program */
  use(program) {
    this.program = program;
    this.gl.useProgram(program.program);
  }

  /** Largest number of voxels along an axis that this GPU takes. */
  get maxSize() {
    return this.gl.getParameter(this.gl.MAX_3D_TEXTURE_SIZE);
  }

  /** Put a volume on the GPU in place of the one of that name. @param {string} name @param {Uint8Array} bytes @param {import("./store.js").VolumeInfo} info */
  upload(name, bytes, info) {
    const gl = this.gl;
    this.free(name);
    const texture = /** @type {WebGLTexture} */ (gl.createTexture());
    gl.activeTexture(gl.TEXTURE4);
    gl.bindTexture(gl.TEXTURE_3D, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const [x, y, z] = info.lattice.shape;
    const filter = info.type === "bits" ? gl.NEAREST : gl.LINEAR;
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MAG_FILTER, filter);
    for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) {
      gl.texParameteri(gl.TEXTURE_3D, wrap, gl.CLAMP_TO_EDGE);
    }
    if (info.type === "half") {
      const values = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R16F, z, y, x, 0, gl.RED, gl.HALF_FLOAT, values);
    } else if (info.type === "bytes") {
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8, z, y, x, 0, gl.RED, gl.UNSIGNED_BYTE, bytes);
    } else {
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8UI, z, y, x, 0, gl.RED_INTEGER, gl.UNSIGNED_BYTE, bytes);
    }
    this.volumes.set(name, { texture, lattice: info.lattice });
  }

  /** Take over a part of a volume of bits that has changed. @param {string} name @param {Uint8Array} bytes of the whole volume @param {number[]} low @param {number[]} high */
  update(name, bytes, low, high) {
    const gl = this.gl;
    const volume = this.volumes.get(name);
    if (!volume) return;
    const { shape } = volume.lattice;
    const [dx, dy, dz] = high.map((v, axis) => v - low[axis] + 1);
    gl.activeTexture(gl.TEXTURE4);
    gl.bindTexture(gl.TEXTURE_3D, volume.texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    // read in place from the whole volume
    const rows = [[gl.UNPACK_ROW_LENGTH, shape[2]], [gl.UNPACK_IMAGE_HEIGHT, shape[1]], [gl.UNPACK_SKIP_PIXELS, low[2]], [gl.UNPACK_SKIP_ROWS, low[1]], [gl.UNPACK_SKIP_IMAGES, low[0]]];
    for (const [parameter, value] of rows) gl.pixelStorei(parameter, value);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, low[2], low[1], low[0], dz, dy, dx, gl.RED_INTEGER, gl.UNSIGNED_BYTE, bytes);
    for (const [parameter] of rows) gl.pixelStorei(parameter, 0);
  }

  /** Free the volumes of a case before that the present one has no counterpart of. @param {string[]} names */
  retain(names) {
    for (const name of [...this.volumes.keys()]) if (!names.includes(name)) this.free(name);
  }

  /** @param {string} name */
  free(name) {
    const volume = this.volumes.get(name);
    if (volume) this.gl.deleteTexture(volume.texture);
    this.volumes.delete(name);
  }

  /** @param {number} unit @param {string} sampler @param {string} name @param {string} prefix */
  bind(unit, sampler, name, prefix) {
    const gl = this.gl;
    const { texture, lattice } = /** @type {{texture: WebGLTexture, lattice: Lattice}} */ (this.volumes.get(name));
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_3D, texture);
    gl.uniform1i(this.at(sampler), unit);
    gl.uniform3fv(this.at(`${prefix}Origin`), lattice.origin);
    gl.uniform3fv(this.at(`${prefix}Spacing`), lattice.spacing);
    if (prefix !== "uBits") gl.uniform3fv(this.at(`${prefix}Shape`), lattice.shape);
  }

  /** Rows of the table: the PET's colours, and those of probabilities. @param {string} name */
  useColourMap(name) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE3);
    gl.bindTexture(gl.TEXTURE_2D, this.colours);
    if (this.colourMap !== name) {
      const rows = new Uint8Array([...colourTable(name), ...colourTable(washMap(name))]);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 2, 0, gl.RGBA, gl.UNSIGNED_BYTE, rows);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
      for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
      this.colourMap = name;
    }
    gl.uniform1i(this.at("uColours"), 3);
  }

  /** Draw volumes of one voxel with the programs that a case will need: to make them takes longer than to use them. @param {import("./store.js").CaseInfo} info @param {Look} look @param {import("./modes.js").Plan} plan */
  warmUp(info, look, plan) {
    for (const [name, volume] of Object.entries(info.volumes)) {
      this.upload(name, new Uint8Array(2), { ...volume, lattice: { ...volume.lattice, shape: [1, 1, 1] } });
    }
    const [x, y, z] = info.volumes.ct.lattice.origin;
    const view = /** @type {View} */ ({ box: { x: 0, y: 0, width: 2, height: 2 }, centre: [x, y, z], pxPerMm: 1 });
    const shown = {
      lines: plan.lines, fill: plan.fill, readers: info.readers, thresholds: {}, dial: {}, revision: 0, box: /** @type {[number[], number[]]} */ ([[0, 0, 0], [0, 0, 0]]),
      pairColours: info.pair_colours, heatColours: info.heat_colours,
    };
    for (const plane of /** @type {PlaneName[]} */ (["axial", "mip"])) this.draw(plane, view, [x, y, z], look, shown, 1);
    this.gl.flush();
    this.clear();
  }

  /** Paint everything in the colour of the lines between panels. */
  clear() {
    const gl = this.gl;
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(0.15, 0.17, 0.19, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
  }

  /**
   * Draw one plane into its box.
   *
   * @param {PlaneName} plane
   * @param {View} view
   * @param {Vec3} sliceMm a position on the slice
   * @param {Look} look
   * @param {Shown} shown
   * @param {number} ratio device pixels per CSS pixel
   */
  draw(plane, view, sliceMm, look, shown, ratio) {
    const gl = this.gl;
    const left = Math.round(view.box.x * ratio);
    const top = Math.round(view.box.y * ratio);
    const wide = Math.round((view.box.x + view.box.width) * ratio) - left;
    const high = Math.round((view.box.y + view.box.height) * ratio) - top;
    const bottom = this.canvas.height - top - high;
    gl.viewport(left, bottom, wide, high);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(left, bottom, wide, high);
    const place = placeOf(plane, view, sliceMm, [left, bottom, wide, high], ratio);
    this.use(this.images);
    this.useImages(plane, place, look);
    gl.drawArrays(gl.TRIANGLES, 0, 3);

    const part = partOf(place, this.marked(plane, shown, place));
    if (!part) return;
    gl.scissor(part[0], part[1], part[2], part[3]);
    const flat = plane === "mip";
    const kind = { readers: shown.lines.length, fill: flat ? "none" : shown.fill.kind, soft: softOf(shown).length > 0, exact: look.exact };
    this.use(this.readingsOf(kind));
    this.useImages(plane, place, look);
    this.useReadings(plane, place, shown, ratio);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** @param {Parameters<typeof readingProgram>[1]} kind */
  readingsOf(kind) {
    const key = JSON.stringify(kind);
    const known = this.readings.get(key) ?? readingProgram(this.gl, kind);
    this.readings.set(key, known);
    return known;
  }

  /** @param {PlaneName} plane @param {Place} place @param {Look} look */
  useImages(plane, { corner, start, right, upwards }, look) {
    const gl = this.gl;
    const { across, up, normal } = PLANES[plane];
    const flat = plane === "mip";
    this.bind(0, "uCt", "ct", "uCt");
    this.bind(1, "uPet", flat ? "mip" : "pet", "uPet");
    this.useColourMap(look.colourMap);
    gl.uniform2fv(this.at("uCorner"), corner);
    gl.uniform3fv(this.at("uStartMm"), start);
    gl.uniform3fv(this.at("uRightMm"), right);
    gl.uniform3fv(this.at("uUpMm"), upwards);
    gl.uniform3i(this.at("uAxes"), across, up, normal);
    gl.uniform1i(this.at("uMode"), flat ? 1 : { ct: 0, pet: 1, fused: 2 }[look.mode]);
    gl.uniform2f(this.at("uWindow"), look.level, look.width);
    gl.uniform2f(this.at("uSuv"), look.suvMin / look.petScale, look.suvMax / look.petScale);
    gl.uniform1f(this.at("uOpacity"), look.opacity);
  }

  /** Where a reader may mark something or a probability lie on a plane: lowest and highest mm across and up, or null. @param {PlaneName} plane @param {Shown} shown @param {Place} place @returns {[number[], number[]] | null} */
  marked(plane, { lines, fill, readers, box }, place) {
    const axes = [PLANES[plane].across, PLANES[plane].up];
    const parts = [];
    if (box && (fill.kind !== "none" || lines.some((line) => line.visible))) {
      const { origin, spacing } = this.latticeOf("bits");
      const beyond = 2 * this.strideOf(place, axes);
      parts.push(box.map((end, n) => axes.map((axis) => origin[axis] + spacing[axis] * (end[axis] + (n ? beyond : -beyond)))));
    }
    const wash = fill.kind === "wash" ? readers.find((reader) => reader.name === fill.model)?.probability : undefined;
    if (wash && plane !== "mip") {
      const { origin, spacing, shape } = this.latticeOf(wash.volume);
      parts.push([axes.map((axis) => origin[axis] - spacing[axis]), axes.map((axis) => origin[axis] + spacing[axis] * shape[axis])]);
    }
    if (!parts.length) return null;
    return [0, 1].map((n) => axes.map((_, a) => Math[n ? "max" : "min"](...parts.map((part) => part[n][a]))));
  }

  /** @param {string} name */
  latticeOf(name) {
    return /** @type {{lattice: Lattice}} */ (this.volumes.get(name)).lattice;
  }

  /** Voxels per step of the contours where voxels are smaller than pixels. @param {Place} place @param {number[]} axes */
  strideOf(place, axes) {
    const { spacing } = this.latticeOf("ct");
    return Math.max(1, Math.ceil((0.7 * place.mmPerPixel) / Math.min(...axes.map((axis) => spacing[axis]))));
  }

  /** @param {PlaneName} plane @param {Place} place @param {Shown} shown @param {number} ratio */
  useReadings(plane, place, shown, ratio) {
    const gl = this.gl;
    const { across, up } = PLANES[plane];
    const flat = plane === "mip";
    this.bind(2, "uBits", flat ? "mip_bits" : "bits", "uBits");
    const { lines, box } = shown;
    gl.uniform1ui(this.at("uVisible"), box ? bitsOf(lines, (line) => line.visible) : 0);
    const step = (/** @type {number} */ axis) => [2, 1, 0].map((i) => Number(i === axis));
    gl.uniform3iv(this.at("uStepRight"), step(across));
    gl.uniform3iv(this.at("uStepUp"), step(up));
    gl.uniform1ui(this.at("uDashed"), bitsOf(lines, (line) => line.dashed));
    const padded = Array.from({ length: MAX_READERS }, (_, i) => lines[i]);
    gl.uniform3fv(this.at("uReaderColour"), padded.flatMap((line) => (line ? rgb(line.colour) : [0, 0, 0])));
    const lineWidth = 1.5 * ratio;
    // two lines alone may run on one edge: the dashes of one lie over the other
    const lane = ["none", "areas"].includes(shown.fill.kind) ? lanes(lines) : lines.map(() => 0);
    gl.uniform1fv(this.at("uLane"), padded.map((line, i) => (line ? lane[i] * lineWidth : 0)));
    gl.uniform1fv(this.at("uDashShift"), padded.map((_, i) => (i % 2) * 0.5));
    gl.uniform2f(this.at("uLine"), lineWidth / 2, lineWidth / 2 + 1.1 * ratio);
    gl.uniform2f(this.at("uDash"), 9 * ratio, 5.5 * ratio);
    gl.uniform1i(this.at("uStride"), this.strideOf(place, [across, up]));
    if (box) gl.uniform4i(this.at("uBox"), box[0][across], box[0][up], box[1][across], box[1][up]);
    this.useThresholds(shown, flat);
    this.useFill(shown, flat, ratio);
  }

  /** Models at another threshold than the bits': their outline from their probabilities. @param {Shown} shown @param {boolean} flat */
  useThresholds(shown, flat) {
    const gl = this.gl;
    const [first, shape] = [new Int32Array(3 * MAX_READERS), new Int32Array(3 * MAX_READERS)];
    const least = new Float32Array(MAX_READERS);
    const units = new Int32Array(MAX_READERS);
    let soft = 0;
    for (const [i, probability, byte] of softOf(shown)) {
      const volume = /** @type {{texture: WebGLTexture, lattice: Lattice}} */ (this.volumes.get(flat ? probability.mip : probability.volume));
      soft |= 1 << i;
      units[i] = FIRST_PROBABILITY + i;
      gl.activeTexture(gl.TEXTURE0 + units[i]);
      gl.bindTexture(gl.TEXTURE_3D, volume.texture);
      const from = probability.first.map((v, axis) => (flat && axis === 1 ? 0 : v));
      first.set(from.reverse(), 3 * i);
      shape.set([...volume.lattice.shape].reverse(), 3 * i);
      least[i] = (byte - 0.5) / 255;
    }
    gl.uniform1ui(this.at("uSoft"), soft);
    gl.uniform1iv(this.at("uProbability"), units);
    gl.uniform3iv(this.at("uFirst"), first);
    gl.uniform3iv(this.at("uShape"), shape);
    gl.uniform1fv(this.at("uLeast"), least);
  }

  /** Regions, counts or probabilities under the contours; a projection has contours alone. @param {Shown} shown @param {boolean} flat @param {number} ratio */
  useFill({ lines, fill, readers, box, pairColours, heatColours }, flat, ratio) {
    const gl = this.gl;
    const kind = flat ? "none" : fill.kind;
    const place = (/** @type {string} */ name) => lines.findIndex((line) => line.name === name);
    let filled = 0;
    if (fill.kind === "pair" && !flat) {
      const pair = [place(fill.reference), place(fill.candidate)];
      filled = (1 << pair[0]) | (1 << pair[1]);
      gl.uniform2i(this.at("uPair"), pair[0], pair[1]);
      gl.uniform3fv(this.at("uPairColour"), pairColours.flatMap(rgb));
    }
    if (fill.kind === "heat" && !flat) {
      filled = (1 << lines.length) - 1;
      const colours = ["#000000", ...heatColours];
      gl.uniform3fv(this.at("uHeatColour"), Array.from({ length: MAX_READERS + 1 }, (_, i) => rgb(colours[Math.min(i, heatColours.length)])).flat());
    }
    if (fill.kind === "areas" && !flat) filled = bitsOf(lines, (line) => line.visible);
    const model = fill.kind === "wash" ? readers[place(fill.model)] : undefined;
    // a sampler must always have a volume of its kind
    const name = model?.probability?.volume ?? "ct";
    this.bind(FIRST_PROBABILITY + MAX_READERS, "uWash", name, "uWash");
    gl.uniform1ui(this.at("uFilled"), box ? filled : 0);
    gl.uniform1f(this.at("uRatio"), ratio);
  }

  /** Free all that the GPU holds and give the context back. */
  dispose() {
    for (const name of [...this.volumes.keys()]) this.free(name);
    this.gl.deleteTexture(this.colours);
    for (const { program } of [this.images, ...this.readings.values()]) this.gl.deleteProgram(program);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
    this.canvas.width = this.canvas.height = 1;
  }
}
