declare module "voxgrad:script";
declare module "*.css";
