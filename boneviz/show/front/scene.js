/** Draws slices with WebGL2: windowed CT, coloured PET, and every reader's contour, in one pass. */

import { PLANES } from "./geometry.js";
import { colourTable, parseHex } from "./window.js";

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./geometry.js").Lattice} Lattice */
/** @typedef {import("./geometry.js").PlaneName} PlaneName */
/** @typedef {import("./geometry.js").Vec3} Vec3 */
/** @typedef {import("./geometry.js").View} View */
/** @typedef {{level: number, width: number, suvMin: number, suvMax: number, opacity: number, mode: "ct" | "pet" | "fused", colourMap: string, exact: boolean}} Look */
/** @typedef {{colour: string, dashed: boolean, visible: boolean}} ReaderLook */

export const MAX_READERS = 8;

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler3D;
precision highp usampler3D;

// arrays come with their last axis running fastest, so textures are indexed (z, y, x)
uniform sampler3D uCt;
uniform sampler3D uPet;
uniform usampler3D uBits;
uniform sampler2D uColours;
uniform vec3 uCtOrigin, uCtSpacing, uCtShape;
uniform vec3 uPetOrigin, uPetSpacing, uPetShape;
uniform vec3 uBitsOrigin, uBitsSpacing;

// millimetres of the panel's bottom left corner, and along one device pixel to the right and up
uniform vec2 uCorner;
uniform vec3 uStartMm, uRightMm, uUpMm;
uniform ivec3 uAxes; // the axes of the volume across, up and through the plane

uniform int uMode; // 0 CT, 1 PET, 2 fused
uniform vec2 uWindow; // level, width in HU
uniform vec2 uSuv; // lowest, highest shown
uniform float uOpacity;

uniform uint uVisible; // readers shown
uniform uint uReaders; // how many there are
uniform uint uDashed;
uniform vec3 uReaderColour[8];
uniform float uLane[8]; // how far beside the edge a reader's line runs, device pixels, + outside
uniform float uDashShift[8];
uniform vec2 uLine; // half width of line and of its dark halo, device pixels
uniform vec2 uDash; // period and drawn part, device pixels
uniform int uStride; // voxels per step where voxels are smaller than pixels
uniform int uExact; // 1 follows the voxels' own edges
uniform ivec3 uStepRight, uStepUp; // one voxel along the plane's axes, as texture indices
uniform ivec4 uBox; // lowest and highest voxel across and up that holds a contour

out vec4 outColour;

bool inside(vec3 voxel, vec3 shape) {
  return all(greaterThan(voxel, vec3(-0.5))) && all(lessThan(voxel, shape - 0.5));
}

// Exact: distance to the nearest side or corner of this voxel beyond which the mask changes.
float exactDistance(uint reader, uint m[9], vec2 within, vec2 perPixel) {
  uint here = m[4] >> reader & 1u;
  float nearest = 1e4;
  for (int j = 0; j < 3; j++) {
    for (int i = 0; i < 3; i++) {
      if ((m[3 * j + i] >> reader & 1u) == here) continue;
      vec2 side = vec2(i - 1, j - 1);
      vec2 gap = mix(vec2(0.0), 0.5 - side * within, abs(side)) / perPixel;
      nearest = min(nearest, length(gap));
    }
  }
  return here == 1u ? -nearest : nearest;
}

// Dashes run along the contour: the pixel's place along the nearest of four directions.
float dash(vec2 normal, float shift) {
  float turn = floor(atan(normal.x, -normal.y) / 0.7853982 + 0.5) * 0.7853982;
  float place = dot(gl_FragCoord.xy, vec2(cos(turn), sin(turn)));
  float phase = fract(place / uDash.x + shift) * uDash.x;
  return clamp(min(phase, uDash.y - phase) + 0.5, 0.0, 1.0);
}

void main() {
  vec2 pixel = gl_FragCoord.xy - uCorner;
  vec3 mm = uStartMm + pixel.x * uRightMm + pixel.y * uUpMm;
  vec3 colour = vec3(0.022, 0.026, 0.032);

  vec3 ctVoxel = (mm - uCtOrigin) / uCtSpacing;
  vec3 petVoxel = (mm - uPetOrigin) / uPetSpacing;
  bool hasCt = uMode != 1 && inside(ctVoxel, uCtShape);
  bool hasPet = uMode != 0 && inside(petVoxel, uPetShape);
  if (hasCt) {
    float hu = texture(uCt, ((ctVoxel + 0.5) / uCtShape).zyx).r;
    colour = vec3(clamp((hu - uWindow.x) / uWindow.y + 0.5, 0.0, 1.0));
  }
  if (hasPet) {
    float suv = texture(uPet, ((petVoxel + 0.5) / uPetShape).zyx).r;
    float level = clamp((suv - uSuv.x) / (uSuv.y - uSuv.x), 0.0, 1.0);
    vec3 hot = texture(uColours, vec2((level * 255.0 + 0.5) / 256.0, 0.5)).rgb;
    // low uptake stays transparent, so that bone without uptake keeps its brightness
    float cover = uMode == 1 ? 1.0 : hasCt ? uOpacity * min(1.0, 2.0 * level) : uOpacity;
    colour = mix(colour, hot, cover);
  }

  vec3 bitsVoxel = (mm - uBitsOrigin) / uBitsSpacing;
  vec2 at = vec2(bitsVoxel[uAxes.x], bitsVoxel[uAxes.y]);
  if (uVisible != 0u && all(greaterThan(at, vec2(uBox.xy) - 2.0 * float(uStride)))
      && all(lessThan(at, vec2(uBox.zw) + 2.0 * float(uStride)))) {
    float stride = float(uStride);
    vec2 nearest = floor(at / stride + 0.5);
    vec2 f = at / stride - nearest;
    ivec2 middle = uStride * ivec2(nearest);
    ivec3 place = ivec3(floor(bitsVoxel + 0.5));
    place[uAxes.x] = 0;
    place[uAxes.y] = 0;
    ivec3 first = place.zyx + middle.x * uStepRight + middle.y * uStepUp;
    uint m[9];
    uint any1 = 0u, all1 = 255u;
    for (int j = 0; j < 3; j++) {
      for (int i = 0; i < 3; i++) {
        ivec2 voxel = middle + uStride * ivec2(i - 1, j - 1);
        bool within = all(greaterThanEqual(voxel, uBox.xy)) && all(lessThanEqual(voxel, uBox.zw));
        uint bits = within ? texelFetch(uBits, first + uStride * ((i - 1) * uStepRight + (j - 1) * uStepUp), 0).r : 0u;
        m[3 * j + i] = bits;
        any1 |= bits;
        all1 &= bits;
      }
    }
    uint edges = any1 & ~all1 & uVisible;
    if (edges != 0u) {
      vec3 wx = vec3(0.5 * (0.5 - f.x) * (0.5 - f.x), 0.75 - f.x * f.x, 0.5 * (0.5 + f.x) * (0.5 + f.x));
      vec3 wy = vec3(0.5 * (0.5 - f.y) * (0.5 - f.y), 0.75 - f.y * f.y, 0.5 * (0.5 + f.y) * (0.5 + f.y));
      vec3 dx = vec3(f.x - 0.5, -2.0 * f.x, f.x + 0.5);
      vec3 dy = vec3(f.y - 0.5, -2.0 * f.y, f.y + 0.5);
      // voxels per device pixel along the screen's x and y
      vec2 perPixel = vec2(abs(uRightMm[uAxes.x]) / uBitsSpacing[uAxes.x],
                           abs(uUpMm[uAxes.y]) / uBitsSpacing[uAxes.y]) / stride;
      float halo = 0.0;
      float line[8];
      for (uint r = 0u; r < uReaders; r++) {
        line[r] = 0.0;
        if ((edges >> r & 1u) == 0u) continue;
        // the mask under a quadratic B-spline, whose half level runs through the voxels' edges
        float value = 0.0;
        vec2 slope = vec2(0.0);
        for (int j = 0; j < 3; j++) {
          vec3 row = vec3(m[3 * j] >> r & 1u, m[3 * j + 1] >> r & 1u, m[3 * j + 2] >> r & 1u);
          float along = dot(row, wx);
          value += along * wy[j];
          slope += vec2(dot(row, dx) * wy[j], along * dy[j]);
        }
        slope *= perPixel;
        // signed distance in device pixels, + outside
        float d = uExact == 1 ? exactDistance(r, m, f, perPixel) : (0.5 - value) / max(length(slope), 1e-4);
        d = abs(d - uLane[r]);
        // the screen's x runs against the axis
        float drawn = (uDashed >> r & 1u) == 1u ? dash(slope * vec2(-1.0, 1.0), uDashShift[r]) : 1.0;
        halo = max(halo, clamp(uLine.y + 0.5 - d, 0.0, 1.0) * drawn);
        line[r] = clamp(uLine.x + 0.5 - d, 0.0, 1.0) * drawn;
      }
      colour *= 1.0 - 0.72 * halo;
      // solid lines first, dashed ones over them: what lies under shows in the gaps
      for (uint r = 0u; r < uReaders; r++) if ((uDashed >> r & 1u) == 0u) colour = mix(colour, uReaderColour[r], line[r]);
      for (uint r = 0u; r < uReaders; r++) if ((uDashed >> r & 1u) == 1u) colour = mix(colour, uReaderColour[r], line[r]);
    }
  }
  outColour = vec4(colour, 1.0);
}`;

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

/** @param {WebGL2RenderingContext} gl @param {number} type @param {string} source */
function compile(gl, type, source) {
  const shader = /** @type {WebGLShader} */ (gl.createShader(type));
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
    throw new Error(`the slice shader does not compile here: ${gl.getShaderInfoLog(shader)}`);
  }
  return shader;
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
    this.program = /** @type {WebGLProgram} */ (gl.createProgram());
    gl.attachShader(this.program, compile(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(this.program, compile(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`the slice program does not link here: ${gl.getProgramInfoLog(this.program)}`);
    }
    gl.useProgram(this.program);
    /** @type {Map<string, WebGLUniformLocation | null>} */
    this.places = new Map();
    /** @type {Map<string, {texture: WebGLTexture, lattice: Lattice}>} */
    this.volumes = new Map();
    this.colours = /** @type {WebGLTexture} */ (gl.createTexture());
    this.colourMap = "";
  }

  /** @param {string} name */
  at(name) {
    if (!this.places.has(name)) this.places.set(name, this.gl.getUniformLocation(this.program, name));
    return this.places.get(name) ?? null;
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
    const half = info.type === "half";
    const filter = half ? gl.LINEAR : gl.NEAREST;
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MAG_FILTER, filter);
    for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) {
      gl.texParameteri(gl.TEXTURE_3D, wrap, gl.CLAMP_TO_EDGE);
    }
    if (half) {
      const values = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R16F, z, y, x, 0, gl.RED, gl.HALF_FLOAT, values);
    } else {
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8UI, z, y, x, 0, gl.RED_INTEGER, gl.UNSIGNED_BYTE, bytes);
    }
    this.volumes.set(name, { texture, lattice: info.lattice });
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
    return lattice;
  }

  /** @param {string} name */
  useColourMap(name) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE3);
    gl.bindTexture(gl.TEXTURE_2D, this.colours);
    if (this.colourMap !== name) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, colourTable(name));
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
      this.colourMap = name;
    }
    gl.uniform1i(this.at("uColours"), 3);
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
   * @param {ReaderLook[]} readers
   * @param {[number[], number[]] | null} box lowest and highest voxel that any reader marks
   * @param {number} ratio device pixels per CSS pixel
   */
  draw(plane, view, sliceMm, look, readers, box, ratio) {
    const gl = this.gl;
    const { across, up, normal } = PLANES[plane];
    const flat = plane === "mip";
    const ct = this.bind(0, "uCt", "ct", "uCt");
    this.bind(1, "uPet", flat ? "mip" : "pet", "uPet");
    this.bind(2, "uBits", flat ? "mip_bits" : "bits", "uBits");
    this.useColourMap(look.colourMap);

    const left = Math.round(view.box.x * ratio);
    const top = Math.round(view.box.y * ratio);
    const wide = Math.round((view.box.x + view.box.width) * ratio) - left;
    const high = Math.round((view.box.y + view.box.height) * ratio) - top;
    const bottom = this.canvas.height - top - high;
    gl.viewport(left, bottom, wide, high);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(left, bottom, wide, high);

    const mmPerPixel = 1 / (view.pxPerMm * ratio);
    const start = [...sliceMm];
    if (flat) start[normal] = 0;
    start[across] = view.centre[across] + (wide / 2) * mmPerPixel;
    start[up] = view.centre[up] - (high / 2) * mmPerPixel;
    const right = [0, 0, 0];
    const upwards = [0, 0, 0];
    right[across] = -mmPerPixel;
    upwards[up] = mmPerPixel;
    gl.uniform2f(this.at("uCorner"), left, bottom);
    gl.uniform3fv(this.at("uStartMm"), start);
    gl.uniform3fv(this.at("uRightMm"), right);
    gl.uniform3fv(this.at("uUpMm"), upwards);
    gl.uniform3i(this.at("uAxes"), across, up, normal);

    gl.uniform1i(this.at("uMode"), flat ? 1 : { ct: 0, pet: 1, fused: 2 }[look.mode]);
    gl.uniform2f(this.at("uWindow"), look.level, look.width);
    gl.uniform2f(this.at("uSuv"), look.suvMin, look.suvMax);
    gl.uniform1f(this.at("uOpacity"), look.opacity);

    const mask = (/** @type {(r: ReaderLook) => boolean} */ test) => readers.reduce((bits, r, i) => bits | (test(r) ? 1 << i : 0), 0);
    gl.uniform1ui(this.at("uVisible"), box ? mask((r) => r.visible) : 0);
    gl.uniform1ui(this.at("uReaders"), readers.length);
    const step = (/** @type {number} */ axis) => [2, 1, 0].map((i) => Number(i === axis));
    gl.uniform3iv(this.at("uStepRight"), step(across));
    gl.uniform3iv(this.at("uStepUp"), step(up));
    gl.uniform1ui(this.at("uDashed"), mask((r) => r.dashed));
    const padded = Array.from({ length: MAX_READERS }, (_, i) => readers[i]);
    gl.uniform3fv(this.at("uReaderColour"), padded.flatMap((r) => (r ? parseHex(r.colour).map((c) => c / 255) : [0, 0, 0])));
    const lineWidth = 1.8 * ratio;
    const lane = lanes(readers);
    gl.uniform1fv(this.at("uLane"), padded.map((r, i) => (r ? lane[i] * lineWidth : 0)));
    gl.uniform1fv(this.at("uDashShift"), padded.map((_, i) => (i % 2) * 0.5));
    gl.uniform2f(this.at("uLine"), lineWidth / 2, lineWidth / 2 + 1.1 * ratio);
    gl.uniform2f(this.at("uDash"), 9 * ratio, 5.5 * ratio);
    const perPixel = mmPerPixel / Math.min(ct.spacing[across], ct.spacing[up]);
    gl.uniform1i(this.at("uStride"), Math.max(1, Math.ceil(0.7 * perPixel)));
    gl.uniform1i(this.at("uExact"), look.exact ? 1 : 0);
    if (box) gl.uniform4i(this.at("uBox"), box[0][across], box[0][up], box[1][across], box[1][up]);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** Free all that the GPU holds and give the context back. */
  dispose() {
    for (const name of [...this.volumes.keys()]) this.free(name);
    this.gl.deleteTexture(this.colours);
    this.gl.deleteProgram(this.program);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
    this.canvas.width = this.canvas.height = 1;
  }
}
