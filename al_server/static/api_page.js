// A file of its own, because our pages may hold no scripts.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: false, // else there are links within buttons, which screen readers cannot reach
  showExtensions: true,
  validatorUrl: null, // else the page sends our address to a public validator
});
