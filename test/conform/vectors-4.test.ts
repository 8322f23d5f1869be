import { describePart } from "./shared.js";

describePart(3, 6);
