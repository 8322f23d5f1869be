import { describeSubject } from "./shared.js";

describeSubject("walk");
