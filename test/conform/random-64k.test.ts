import { describeSubject } from "./shared.js";

describeSubject("random-64k");
