/**
 * The volumes of one widget in this page: asked for once, unpacked as they come, shared by its views.
 * Messages of a patient who is no longer shown are dropped.
 */

/** @typedef {import("./geometry.js").Lattice} Lattice */
/** @typedef {import("./modes.js").Reader} Reader */
/** @typedef {{lattice: Lattice, bytes: number, type: "half" | "bits" | "bytes", made?: boolean}} VolumeInfo */
/** @typedef {{serial: number, patient: string, readers: Reader[], hu_range: [number, number], notes: string[], pet: import("./pet.js").PetInfo, volumes: Record<string, VolumeInfo>, box: [number[], number[]] | null, pair_colours: [string, string, string], heat_colours: string[], dial_colour: string, draws: string}} CaseInfo draws: whose outline may be drawn, or empty */
/** @typedef {{info: CaseInfo, arrays: Record<string, Uint8Array>, seen: Set<string>, received: number, total: number, first: number, begun: boolean, ready: boolean, easel?: import("./easel.js").Easel}} Load first: bytes without which nothing is drawn; begun: they are here; ready: all is */

/** @type {Map<string, Store>} */
const stores = new Map();

/** The store of a widget, made by its first view. @param {any} model */
export function storeOf(model) {
  const key = model.get("_key");
  let store = stores.get(key);
  if (!store) {
    store = new Store(model, () => stores.delete(key));
    stores.set(key, store);
  }
  return store;
}

/** @param {ArrayBuffer | ArrayBufferView} packed @returns {Promise<Uint8Array>} */
export async function gunzip(packed) {
  const stream = new Blob([/** @type {any} */ (packed)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const COARSE = "coarse_";

/** Whether a volume has a coarse one that goes ahead. @param {CaseInfo} info @param {string} name */
function isLate(info, name) {
  return COARSE + name in info.volumes;
}

/** Which volume is drawn under a name: the coarse one until the whole is here. @param {{info: CaseInfo, ready: boolean}} load @param {string} name */
export function sourceOf({ info, ready }, name) {
  return !ready && isLate(info, name) ? COARSE + name : name;
}

/** The volumes to draw, each by its name. @param {Load} load @returns {[string, Uint8Array, VolumeInfo][]} */
export function drawable(load) {
  const names = Object.keys(load.info.volumes).filter((name) => !name.startsWith(COARSE));
  return names.map((name) => {
    const source = sourceOf(load, name);
    return [name, load.arrays[source], load.info.volumes[source]];
  });
}

/** An empty load of a case. @param {CaseInfo} info @returns {Load} */
export function emptyLoad(info) {
  const entries = Object.entries(info.volumes);
  return {
    info,
    arrays: Object.fromEntries(entries.map(([name, volume]) => [name, new Uint8Array(volume.bytes)])),
    seen: new Set(),
    received: 0,
    total: entries.reduce((sum, [, volume]) => sum + volume.bytes, 0),
    first: entries.reduce((sum, [name, volume]) => sum + (isLate(info, name) ? 0 : volume.bytes), 0),
    begun: false,
    ready: false,
  };
}

/** Put one unpacked piece in its place; a piece that came before is not counted again. @param {Load} load @param {string} name @param {number} offset @param {Uint8Array} piece */
export function place(load, name, offset, piece) {
  const key = `${name}:${offset}`;
  if (load.seen.has(key)) return;
  load.seen.add(key);
  load.arrays[name].set(piece, offset);
  load.received += piece.byteLength;
  if (!isLate(load.info, name)) load.first -= piece.byteLength;
  load.begun = load.first <= 0;
  load.ready = load.received >= load.total;
}

export class Store {
  /** @param {any} model @param {() => void} onEmpty */
  constructor(model, onEmpty) {
    this.model = model;
    this.onEmpty = onEmpty;
    /** @type {Set<() => void>} */
    this.listeners = new Set();
    /** @type {Load | null} */
    this.load = null;
    this.onMessage = (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => void this.receive(message, buffers);
    this.onCase = () => this.ask();
    model.on("msg:custom", this.onMessage);
    model.on("change:case_info", this.onCase);
    this.ask();
  }

  /** Ask for the case that the model now names, unless it is here or on its way. */
  ask() {
    const info = /** @type {CaseInfo} */ (this.model.get("case_info"));
    if (!info || !info.serial || this.load?.info.serial === info.serial) return;
    this.load = emptyLoad(info);
    this.model.send({ kind: "want", serial: info.serial });
    this.tell();
  }

  /** @param {any} message @param {DataView[]} buffers */
  async receive(message, buffers) {
    const load = this.load;
    if (message.kind === "drawn") return load?.easel?.receive(message, buffers);
    if (message.kind !== "piece" || !load || message.serial !== load.info.serial) return;
    // a DataView onto a larger buffer is handed over as it is, with its own offset and length
    const piece = await gunzip(buffers[0]);
    if (load !== this.load) return;
    place(load, message.volume, message.offset, piece);
    this.tell();
  }

  tell() {
    for (const listener of [...this.listeners]) listener();
  }

  /** @param {() => void} listener @returns {() => void} */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size) return;
      this.model.off("msg:custom", this.onMessage);
      this.model.off("change:case_info", this.onCase);
      this.load = null;
      this.onEmpty();
    };
  }
}
