import { describeSubject } from "./shared.js";

describeSubject("geometry");
