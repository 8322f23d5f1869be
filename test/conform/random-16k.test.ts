import { describeSubject } from "./shared.js";

describeSubject("random-16k");
