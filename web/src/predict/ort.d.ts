// The package describes only its main entry.
declare module "onnxruntime-web/wasm" {
  export * from "onnxruntime-common";
}
declare module "onnxruntime-web/jspi" {
  export * from "onnxruntime-common";
}
