/** What a new person gets: a first password, and an account in Label Studio. */

import { make } from "./dom";
import { api } from "./page";

/** A random password of 20 letters and digits that are not mistaken for each other. */
export function newPassword(): string {
  const letters = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
  const bytes = crypto.getRandomValues(new Uint32Array(20));
  return [...bytes].map((value) => letters[value % letters.length]).join("");
}

/** Make an account in Label Studio for an e-mail address, if there is one; returns what to tell of it. `address` is Label Studio's. */
export async function accountInLabelStudio(email: string, password: string, address: string): Promise<Node[]> {
  if (!email) return [];
  const link = (path: string): Node => make("a", { href: `${address}${path}` }, "Label Studio");
  try {
    await api.post("/api/v1/annotators", { email, password });
    return [make("p", {}, "To draw, the person logs in to ", link("/"), ` as ${email}, with the same password.`)];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const advice = ", page Organization, button Add People: it shows the link of the invitation.";
    return [make("p", { class: "fault" }, `No account in Label Studio: ${reason}`), make("p", {}, "Invite the person in ", link("/organization"), advice)];
  }
}
