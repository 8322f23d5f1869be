import { describeSubject } from "./shared.js";

describeSubject("attributes");
