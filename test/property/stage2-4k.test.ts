import { describeGranule } from "./stage2.js";

describeGranule("4K");
