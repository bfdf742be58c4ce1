/** What is known of networks, together with those of voxgrad: plannedNetworks names the first one by default. */
import "../unet/unet.ts";
import "./other_networks.ts";
import "../alpnet/network_name.ts";
import "../onnx/network.ts";

export {
  architectureOf,
  networkFromPlan,
  networkOf,
  registeredNetworks,
  registerNetwork,
  summarizeNetwork,
} from "../known_networks.ts";
export type { Model, Network, NetworkShape, NetworkSummary, PartSummary } from "../known_networks.ts";
