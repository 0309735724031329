// A file of its own, because our pages may hold no scripts.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  showExtensions: true,
  validatorUrl: null, // else the page sends our address to a public validator
});
