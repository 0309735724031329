/**
 * A page whose buttons change something: it is shown as it is now after each change, and when one of its topics changes.
 * Where a part of the page has the topics, only that part is replaced when they change.
 */

import "./dashboard/dashboard.css";
import "./dashboard/details.css";
import { actOnClicks } from "./actions";
import { keptWhile } from "./dashboard/kept";
import { checkPackages } from "./glims_check";
import { whenChanged, type Topic } from "./live";
import { describeWithdrawal } from "./withdrawal";

const PAUSE_MS = 2000;

type Part = (page: Document) => HTMLElement | null;

const whole: Part = (page) => page.querySelector("main");
const followed: Part = (page) => page.querySelector<HTMLElement>("[data-topics]") ?? whole(page);

/** Show a part of the page as the server shows it now; what a reader has done to it stays. */
async function showAgain(part: Part): Promise<void> {
  const response = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
  if (response.redirected || response.status === 401) location.reload(); // the session has ended
  if (!response.ok) return; // it is shown at the next change
  const shown = part(document);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const now = shown?.id ? page.getElementById(shown.id) : part(page);
  if (now && shown) keptWhile(shown, () => shown.replaceChildren(...now.childNodes));
}

const topics = (followed(document)?.dataset["topics"] ?? "").split(" ").filter(Boolean);
actOnClicks(() => void showAgain(whole), { withdrawal: describeWithdrawal });
checkPackages();
if (topics.length) whenChanged(topics as Topic[], () => void showAgain(followed), PAUSE_MS);
