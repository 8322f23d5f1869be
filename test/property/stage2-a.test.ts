import { describeFile } from "./stage2.js";

describeFile(0);
