/**
 * The programs that draw a slice on the GPU: one for the images alone, one that adds what is filled
 * and the contours. The second is much slower without a graphics card, even where there is nothing
 * to add, so it is run only about what readers mark.
 */

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

const HEAD = `#version 300 es
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

uniform uint uVisible; // readers whose contours are drawn
uniform uint uDashed;
uniform vec3 uReaderColour[8];
uniform float uLane[8]; // how far beside the edge a reader's line runs, device pixels, + outside
uniform float uDashShift[8];
uniform vec2 uLine; // half width of line and of its dark halo, device pixels
uniform vec2 uDash; // period and drawn part, device pixels
uniform int uStride; // voxels per step where voxels are smaller than pixels
uniform ivec3 uStepRight, uStepUp; // one voxel along the plane's axes, as texture indices
uniform ivec4 uBox; // lowest and highest voxel across and up that anybody marks

// models whose outline is where their probability reaches a threshold, in place of their bit
uniform uint uSoft;
uniform sampler3D uProbability[8];
uniform ivec3 uFirst[8], uShape[8]; // where each lies among the bits, as texture indices
uniform float uLeast[8]; // the lowest probability inside

uniform uint uFilled; // readers who decide what is filled
uniform ivec2 uPair; // reference and candidate
uniform vec3 uPairColour[3]; // only the reference, only the candidate, both
uniform vec3 uHeatColour[9]; // by number of readers
uniform sampler3D uWash;
uniform vec3 uWashOrigin, uWashShape;
uniform float uRatio; // device pixels per CSS pixel

out vec4 outColour;

vec3 placeMm() {
  vec2 pixel = gl_FragCoord.xy - uCorner;
  return uStartMm + pixel.x * uRightMm + pixel.y * uUpMm;
}

bool inside(vec3 voxel, vec3 shape) {
  return all(greaterThan(voxel, vec3(-0.5))) && all(lessThan(voxel, shape - 0.5));
}

vec3 images(vec3 mm) {
  vec3 colour = vec3(0.022, 0.026, 0.032);
  vec3 ctVoxel = (mm - uCtOrigin) / uCtSpacing;
  vec3 petVoxel = (mm - uPetOrigin) / uPetSpacing;
  bool hasCt = uMode != 1 && inside(ctVoxel, uCtShape);
  bool hasPet = uMode != 0 && inside(petVoxel, uPetShape);
  if (hasCt) {
    float hu = textureLod(uCt, ((ctVoxel + 0.5) / uCtShape).zyx, 0.0).r;
    colour = vec3(clamp((hu - uWindow.x) / uWindow.y + 0.5, 0.0, 1.0));
  }
  if (hasPet) {
    float suv = textureLod(uPet, ((petVoxel + 0.5) / uPetShape).zyx, 0.0).r;
    float level = clamp((suv - uSuv.x) / (uSuv.y - uSuv.x), 0.0, 1.0);
    vec3 hot = textureLod(uColours, vec2((level * 255.0 + 0.5) / 256.0, 0.25), 0.0).rgb;
    // low uptake stays transparent, so that bone without uptake keeps its brightness
    float cover = uMode == 1 ? 1.0 : hasCt ? uOpacity * min(1.0, 2.0 * level) : uOpacity;
    colour = mix(colour, hot, cover);
  }
  return colour;
}
`;

const IMAGES = `
void main() {
  outColour = vec4(images(placeMm()), 1.0);
}`;

const READINGS = `
float probability(sampler3D volume, ivec3 at, ivec3 shape) {
  bool within = all(greaterThanEqual(at, ivec3(0))) && all(lessThan(at, shape));
  return within ? texelFetch(volume, at, 0).r : 0.0;
}

uint softBits(ivec3 at) {
  uint bits = 0u;
${Array.from({ length: 8 }, (_, r) => `  if ((uSoft & ${1 << r}u) != 0u && probability(uProbability[${r}], at - uFirst[${r}], uShape[${r}]) >= uLeast[${r}]) bits |= ${1 << r}u;`).join("\n")}
  return bits;
}

// What covers a region of a pair, from 0 to 1: a tint, and stripes rising or falling, or dots.
float pattern(int region, vec2 px) {
  vec2 p = px / uRatio;
  if (region == 2) {
    vec2 cell = mod(p, 8.0) - 4.0;
    return clamp((2.1 - length(cell)) * uRatio + 0.5, 0.0, 1.0);
  }
  float along = (region == 0 ? p.x - p.y : p.x + p.y) * 0.7071068;
  return clamp((1.5 - abs(mod(along, 7.0) - 3.5)) * uRatio + 0.5, 0.0, 1.0);
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

// A colour that means a number, over grey: the uptake's hue would make it mean another.
vec3 over(vec3 under, vec3 colour) {
  return mix(vec3(dot(under, vec3(0.2126, 0.7152, 0.0722))), colour, 0.8);
}

void main() {
  vec3 mm = placeMm();
  vec3 colour = images(mm);

#if FILL == 3
  {
    vec3 washVoxel = (mm - uWashOrigin) / uBitsSpacing;
    float p = inside(washVoxel, uWashShape) ? texture(uWash, ((washVoxel + 0.5) / uWashShape).zyx).r : 0.0;
    vec3 wash = texture(uColours, vec2((p * 255.0 + 0.5) / 256.0, 0.75)).rgb;
    colour = mix(colour, over(colour, wash), min(1.0, p / 0.2));
  }
#endif

  vec3 bitsVoxel = (mm - uBitsOrigin) / uBitsSpacing;
  vec2 at = vec2(bitsVoxel[uAxes.x], bitsVoxel[uAxes.y]);
  uint needed = uVisible | uFilled;
  if (needed != 0u && all(greaterThan(at, vec2(uBox.xy) - 2.0 * float(uStride)))
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
        uint bits = 0u;
        if (within) {
          ivec3 texel = first + uStride * ((i - 1) * uStepRight + (j - 1) * uStepUp);
          bits = texelFetch(uBits, texel, 0).r;
#if SOFT
          bits = (bits & ~uSoft) | softBits(texel);
#endif
        }
        m[3 * j + i] = bits;
        any1 |= bits;
        all1 &= bits;
      }
    }
    uint edges = any1 & ~all1 & needed;
    if (edges != 0u || (any1 & uFilled) != 0u) {
      vec3 wx = vec3(0.5 * (0.5 - f.x) * (0.5 - f.x), 0.75 - f.x * f.x, 0.5 * (0.5 + f.x) * (0.5 + f.x));
      vec3 wy = vec3(0.5 * (0.5 - f.y) * (0.5 - f.y), 0.75 - f.y * f.y, 0.5 * (0.5 + f.y) * (0.5 + f.y));
      vec3 dx = vec3(f.x - 0.5, -2.0 * f.x, f.x + 0.5);
      vec3 dy = vec3(f.y - 0.5, -2.0 * f.y, f.y + 0.5);
      // voxels per device pixel along the screen's x and y
      vec2 perPixel = vec2(abs(uRightMm[uAxes.x]) / uBitsSpacing[uAxes.x],
                           abs(uUpMm[uAxes.y]) / uBitsSpacing[uAxes.y]) / stride;
      float halo = 0.0;
      float line[READERS];
      float within[READERS];
      float votes = 0.0;
      for (uint r = 0u; r < READERS; r++) {
        line[r] = 0.0;
        within[r] = float(m[4] >> r & 1u);
        if ((edges >> r & 1u) != 0u) {
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
          
#if EXACT
          float d = exactDistance(r, m, f, perPixel);
#else
          float d = (0.5 - value) / max(length(slope), 1e-4);
#endif

          within[r] = clamp(0.5 - d / uRatio, 0.0, 1.0);
          if ((uVisible >> r & 1u) != 0u) {
            d = abs(d - uLane[r]);
            // the screen's x runs against the axis
            float drawn = (uDashed >> r & 1u) == 1u ? dash(slope * vec2(-1.0, 1.0), uDashShift[r]) : 1.0;
            halo = max(halo, clamp(uLine.y + 0.5 - d, 0.0, 1.0) * drawn);
            line[r] = clamp(uLine.x + 0.5 - d, 0.0, 1.0) * drawn;
          }
        }
        if ((uFilled >> r & 1u) != 0u) votes += within[r];
      }
#if FILL == 1
      {
        vec2 both = vec2(within[uPair.x], within[uPair.y]);
        vec3 share = vec3(both.x * (1.0 - both.y), both.y * (1.0 - both.x), both.x * both.y);
        // the pattern lies on the patient, not on the screen
        vec2 px = at * vec2(-1.0, 1.0) / (perPixel * stride);
        for (int region = 0; region < 3; region++) {
          if (share[region] == 0.0) continue;
          vec3 under = mix(colour, uPairColour[region], 0.22);
          vec3 filled = mix(0.75 * under, uPairColour[region], pattern(region, px));
          colour = mix(colour, filled, share[region]);
        }
      }
#elif FILL == 4
      for (uint r = 0u; r < READERS; r++) {
        if ((uFilled >> r & 1u) != 0u) colour = mix(colour, uReaderColour[r], 0.3 * within[r]);
      }
#elif FILL == 2
      if (votes > 0.0) {
        int lower = int(floor(votes));
        vec3 below = lower == 0 ? colour : over(colour, uHeatColour[lower]);
        vec3 above = over(colour, uHeatColour[min(lower + 1, 8)]);
        float part = votes - float(lower);
        colour = mix(below, above, part);
        // steps are told apart by a dark line, all from the images by a pale one: some eyes see
        // the middle of the scale as grey
        float edge = 1.0 - abs(2.0 * part - 1.0);
        colour = mix(colour, vec3(lower == 0 ? 0.9 : 0.0), edge * (lower == 0 ? 0.8 : 0.55));
      }
#endif
      colour *= 1.0 - 0.72 * halo;
      // solid lines first, dashed ones over them: what lies under shows in the gaps
      for (uint r = 0u; r < READERS; r++) if ((uDashed >> r & 1u) == 0u) colour = mix(colour, uReaderColour[r], line[r]);
      for (uint r = 0u; r < READERS; r++) if ((uDashed >> r & 1u) == 1u) colour = mix(colour, uReaderColour[r], line[r]);
    }
  }
  outColour = vec4(colour, 1.0);
}`;

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

/** A program and the places of its uniforms; one that it does not use has none, and is not set. */
export class Program {
  /** @param {WebGL2RenderingContext} gl @param {string} fragment */
  constructor(gl, fragment) {
    this.gl = gl;
    this.program = /** @type {WebGLProgram} */ (gl.createProgram());
    const shaders = [compile(gl, gl.VERTEX_SHADER, VERTEX), compile(gl, gl.FRAGMENT_SHADER, fragment)];
    for (const shader of shaders) gl.attachShader(this.program, shader);
    gl.linkProgram(this.program);
    for (const shader of shaders) gl.deleteShader(shader);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`the slice program does not link here: ${gl.getProgramInfoLog(this.program)}`);
    }
    /** @type {Map<string, WebGLUniformLocation | null>} */
    this.places = new Map();
  }

  /** @param {string} name */
  at(name) {
    if (!this.places.has(name)) this.places.set(name, this.gl.getUniformLocation(this.program, name));
    return this.places.get(name) ?? null;
  }
}

/** Draws CT, PET or both. @param {WebGL2RenderingContext} gl */
export function imageProgram(gl) {
  return new Program(gl, HEAD + IMAGES);
}

/**
 * Draws the same, with what readers say over it: one program for each kind of fill and number of
 * readers, since what a program might do costs time where it does not.
 *
 * @param {WebGL2RenderingContext} gl
 * @param {{readers: number, fill: "none" | "areas" | "pair" | "heat" | "wash", soft: boolean, exact: boolean}} kind
 *   soft: some outline follows from a probability; exact: along the voxels' own edges
 */
export function readingProgram(gl, { readers, fill, soft, exact }) {
  const chosen = [`READERS ${readers}u`, `FILL ${{ none: 0, pair: 1, heat: 2, wash: 3, areas: 4 }[fill]}`, `SOFT ${Number(soft)}`, `EXACT ${Number(exact)}`];
  const [version, ...rest] = (HEAD + READINGS).split("\n");
  return new Program(gl, [version, ...chosen.map((name) => `#define ${name}`), ...rest].join("\n"));
}
