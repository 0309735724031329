/** What every page has: who reads it, and the client of the API. */

import { Api } from "./api";

const data = document.body.dataset;

export const role = Number(data["role"] ?? 0);
export const who = data["name"] ?? "";
export const ANNOTATOR = 2;
export const OPERATOR = 3;
export const api = new Api(data["csrf"] ?? "");
