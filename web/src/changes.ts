/**
 * A page whose buttons change something: it is shown as it is now after each change, and when one of its topics changes.
 * Where parts of the page have topics, only those are replaced; after a change by a button the innermost one.
 */

import "./dashboard/dashboard.css";
import "./dashboard/details.css";
import { actOnClicks } from "./actions";
import { isWriting } from "./api";
import { keptWhile } from "./dashboard/kept";
import { checkPackages } from "./glims_check";
import { whenChanged, type Topic } from "./live";
import { describeWithdrawal } from "./withdrawal";

const PAUSE_MS = 2000;

const followed = [...document.querySelectorAll<HTMLElement>("[data-topics]")].map((part) => ({
  selector: part.id ? `#${part.id}` : "main",
  topics: (part.dataset["topics"] ?? "").split(" ").filter(Boolean) as Topic[],
}));

/** Show a part of the page as the server shows it now; what a reader has done to it stays. */
async function showAgain(selector: string): Promise<void> {
  const response = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
  const hasEnded = response.redirected || response.status === 401; // the session
  if (hasEnded && !isWriting()) location.reload();
  if (hasEnded || !response.ok) return; // it is shown at the next change
  const shown = document.querySelector<HTMLElement>(selector);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const now = page.querySelector(selector);
  if (now && shown) keptWhile(shown, () => shown.replaceChildren(...now.childNodes));
}

actOnClicks(() => void showAgain(followed.at(-1)?.selector ?? "main"), { withdrawal: describeWithdrawal });
checkPackages();
for (const { selector, topics } of followed) if (topics.length) whenChanged(topics, () => void showAgain(selector), PAUSE_MS);
