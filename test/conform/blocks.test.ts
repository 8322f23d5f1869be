import { describeSubject } from "./shared.js";

describeSubject("blocks");
