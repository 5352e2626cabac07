/** Who is drawn of a case: its readers, and in the view of readers one more where the dial is on. */

import { canBlend, cutOf, dialName, withBlend } from "./blend.js";
import { planOf } from "./modes.js";

/** @typedef {import("./blend.js").Held} Held */
/** @typedef {import("./modes.js").Plan} Plan */
/** @typedef {{held: Held, plan: Plan, thresholds: Record<string, number>}} Cast */

export class Casting {
  constructor() {
    this.key = "";
    this.held = /** @type {import("./blend.js").Blended | null} */ (null);
  }

  /** Forget the dial's outline, whose volumes are no longer on the GPU or no longer true. */
  forget() {
    this.key = "";
    this.held = null;
  }

  /** @param {import("./store.js").Load} load @param {import("./modes.js").Wish} wish @param {import("./blend.js").DialTrait} dial @param {import("./stage.js").AnyScene | null} scene gets the volumes of the dial's outline @returns {Cast} */
  of(load, wish, dial, scene) {
    const plan = planOf(wish, load.info);
    if (plan.view !== "readers" || !canBlend(dial, load.info.readers)) {
      for (const name of this.held?.made ?? []) scene?.free(name);
      this.forget();
      return { held: load, plan, thresholds: wish.thresholds };
    }
    const key = JSON.stringify([load.info.serial, dial]);
    if (this.key !== key || !this.held) {
      this.held = withBlend(load, dial);
      for (const name of this.held.made) scene?.upload(name, this.held.arrays[name], this.held.info.volumes[name]);
      this.key = key;
    }
    const name = dialName(dial);
    return {
      held: this.held,
      plan: planOf({ ...wish, visible: [...wish.visible, name] }, this.held.info),
      thresholds: { ...wish.thresholds, [name]: cutOf(dial, wish.thresholds) },
    };
  }
}
