import { describeSubject } from "./shared.js";

describeSubject("hyp");
