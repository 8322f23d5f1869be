import { describePart } from "./shared.js";

describePart(1, 6);
