import { describeGranule } from "./stage2.js";

describeGranule("64K");
