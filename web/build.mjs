// Bundle the pages' scripts and styles into al_server/static/app, from which the server delivers them.
import { build } from "esbuild";
import { copyFile, mkdir, rm } from "node:fs/promises";

const OUT = "../al_server/static/app";

await rm(OUT, { recursive: true, force: true });
await mkdir(OUT, { recursive: true });
await build({
  entryPoints: [
    { in: "src/map.ts", out: "map" },
    { in: "src/predict/worker.ts", out: "predict-worker" },
    { in: "src/dashboard.ts", out: "dashboard" },
    { in: "src/changes.ts", out: "changes" },
    { in: "src/scene.ts", out: "scene" },
    { in: "src/settings.ts", out: "settings" },
  ],
  outdir: OUT,
  bundle: true,
  splitting: true, // what a page needs only later, it loads only then
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "linked",
  logLevel: "warning",
});
// The runtimes of ONNX, 14 MB for the processor and 17 MB for graphics cards: only who predicts in the browser loads one.
for (const file of ["ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.jspi.wasm"]) {
  await copyFile(`node_modules/onnxruntime-web/dist/${file}`, `${OUT}/${file}`);
}
