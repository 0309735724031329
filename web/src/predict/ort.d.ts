// The package describes only its main entry.
declare module "onnxruntime-web/wasm" {
  export * from "onnxruntime-common";
}
