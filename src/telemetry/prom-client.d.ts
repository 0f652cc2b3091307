// prom-client's own metrics one by one: it types only all of them together.

declare module "prom-client/lib/metrics/*.js" {
  import type { Registry } from "prom-client";
  const add: (registry: Registry, config: { readonly eventLoopMonitoringPrecision: number }) => void;
  export default add;
}
