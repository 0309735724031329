// Bundle the pages' scripts and styles into al_server/static/app, from which the server delivers them.
import { build } from "esbuild";
import { copyFile, mkdir, rm } from "node:fs/promises";

const OUT = "../al_server/static/app";

await rm(OUT, { recursive: true, force: true });
await mkdir(OUT, { recursive: true });
await build({
  entryPoints: ["src/map.ts", "src/dashboard.ts", "src/scene.ts"],
  outdir: OUT,
  bundle: true,
  splitting: true, // what a page needs only later, it loads only then
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "linked",
  logLevel: "warning",
});
