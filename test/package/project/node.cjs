const { closeDevice, grad, tensor } = require("voxgrad");
const { plainConvUNet } = require("voxgrad/models");

(async () => {
  const slope = await grad((x) => x.square().sum())(tensor([1, 2, 3])).array();
  console.log(JSON.stringify([slope, typeof plainConvUNet]));
  await closeDevice();
})();
