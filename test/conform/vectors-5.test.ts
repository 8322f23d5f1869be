import { describePart } from "./shared.js";

describePart(4, 6);
