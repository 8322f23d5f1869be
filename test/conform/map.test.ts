import { describeSubject } from "./shared.js";

describeSubject("map");
