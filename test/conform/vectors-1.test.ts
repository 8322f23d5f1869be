import { describePart } from "./shared.js";

describePart(0, 6);
