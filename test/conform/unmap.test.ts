import { describeSubject } from "./shared.js";

describeSubject("unmap");
