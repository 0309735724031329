/** Sends files to the scene folder of the server: part by part, so that a product of gigabytes arrives over a slow line. */

import { ProblemError, UnreachableError, type Api } from "./api";

const PART_BYTES = 2 * 2 ** 20; // small enough for the server's minute at 35 kB/s
const TRIES = 6;
const WAIT_MS = 1000; // before the second try; doubled before each further one

/** How far an upload is; bytes of all files together. */
export interface Progress {
  file: string;
  number: number;
  files: number;
  sent: number;
  total: number;
}

interface Folder {
  name: string;
  path: string;
  part_max_bytes: number;
  file_max_bytes: number;
}

/** A name that the server takes, if its ending is one: letters, digits, dots, hyphens and underscores. */
export function plainName(name: string): string {
  const plain = name.normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "_").slice(-190);
  return plain.replace(/^[._-]+(?=\.[A-Za-z0-9]+$)/, "file").replace(/^[._-]+/, "") || "file";
}

/** Names that the server takes, one for each file: of two that would be the same, one file would replace the other. */
export function plainNames(files: File[]): string[] {
  const taken = new Set<string>();
  return files.map(({ name }) => {
    const plain = plainName(name);
    const [, stem = "", ending = ""] = /^(.*?)(\.[^.]*)?$/.exec(plain) ?? [];
    let found = plain;
    for (let number = 2; taken.has(found.toLowerCase()); number += 1) found = `${stem}-${number}${ending}`;
    taken.add(found.toLowerCase());
    return found;
  });
}

/** What the folder of an upload is called: as the one file, or by what the names of several have in common. */
export function folderName(files: File[]): string {
  const [first = "scene", ...others] = files.map((file) => plainName(file.name).replace(/\.[A-Za-z]{2,8}$/, ""));
  let common = first;
  for (const other of others) while (!other.startsWith(common)) common = common.slice(0, -1);
  const plain = (common.length >= 3 ? common : first).replace(/\./g, "_").replace(/[_-]+$/, "");
  return plain.slice(0, 90) || "scene";
}

/** Send files into a folder of their own; returns its path, and those of the files, as a scene names them. */
export async function upload(
  api: Api, files: File[], tell: (progress: Progress) => void, signal: AbortSignal,
): Promise<{ folder: string; paths: string[] }> {
  const empty = files.find((file) => !file.size);
  if (empty) throw new Error(`${empty.name} is empty, or a folder; choose the files in it, or its archive`);
  const folder: Folder = await api.post("/api/v1/scenes/uploads", { name: folderName(files) });
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const paths: string[] = [];
  const names = plainNames(files);
  let before = 0;
  for (const [index, file] of files.entries()) {
    const name = names[index] as string;
    const step = Math.min(PART_BYTES, folder.part_max_bytes);
    for (let offset = 0; offset < file.size; offset += step) {
      tell({ file: file.name, number: index + 1, files: files.length, sent: before + offset, total });
      const address = `/api/v1/scenes/uploads/${folder.name}/${encodeURIComponent(name)}?offset=${offset}&size=${file.size}`;
      await sendPart(api, address, file.slice(offset, offset + step), signal);
    }
    before += file.size;
    paths.push(`${folder.path}/${name}`);
  }
  return { folder: folder.path, paths };
}

/** Send a part; again if the line was cut or the server was busy. */
async function sendPart(api: Api, address: string, part: Blob, signal: AbortSignal): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await api.request("PUT", address, part, signal);
      return;
    } catch (error) {
      const passes = error instanceof ProblemError ? error.status === 503 : error instanceof UnreachableError;
      if (!passes || signal.aborted || attempt === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS * 2 ** (attempt - 1)));
      signal.throwIfAborted();
    }
  }
}
