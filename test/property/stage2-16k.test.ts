import { describeGranule } from "./stage2.js";

describeGranule("16K");
