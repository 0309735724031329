/** A page whose buttons change something: it is shown as it is now after each change, and when one of its topics changes. */

import "./dashboard/dashboard.css";
import "./dashboard/details.css";
import { actOnClicks } from "./actions";
import { keptWhile } from "./dashboard/kept";
import { whenChanged, type Topic } from "./live";
import { describeWithdrawal } from "./withdrawal";

const PAUSE_MS = 2000;

/** Show the page as the server shows it now; what a reader has done to it stays. */
async function showAgain(): Promise<void> {
  const response = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
  if (response.redirected || response.status === 401) location.reload(); // the session has ended
  if (!response.ok) return; // it is shown at the next change
  const now = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("main");
  const main = document.querySelector("main");
  if (now && main) keptWhile(main, () => main.replaceChildren(...now.childNodes));
}

const topics = (document.querySelector<HTMLElement>("main")?.dataset["topics"] ?? "").split(" ").filter(Boolean);
actOnClicks(() => void showAgain(), { withdrawal: describeWithdrawal });
if (topics.length) whenChanged(topics as Topic[], () => void showAgain(), PAUSE_MS);
