import { describeSubject } from "./shared.js";

describeSubject("random-4k");
