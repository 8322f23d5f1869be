import { describePart } from "./shared.js";

describePart(2, 6);
