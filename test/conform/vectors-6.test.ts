import { describePart } from "./shared.js";

describePart(5, 6);
